"""The model card of a release folder."""

from typing import TYPE_CHECKING

from vidtok.config import format_budget

if TYPE_CHECKING:
    from vidtok.models.backbones import VideoModel


def model_card(model: "VideoModel") -> str:
    """Markdown with hub front matter: what the model is, what it sees, how to use it, what to cite."""
    config, clip, protocol = model.config, model.preprocessing, model.eval_protocol
    params = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return f"""---
pipeline_tag: video-classification
library_name: vidtok
tags: [video-classification, vidtok, token-compression]
---

# {config.backbone.kind} with compressor {config.compressor.kind}

| | |
|---|---|
| parameters | {params:.1f} M |
| classes | {model.num_classes} |
| clip | {clip.frames} frames, {clip.sampling} sampling, stride {clip.stride}, {clip.size} pixels |
| mean, std | {clip.mean}, {clip.std} of RGB in [0, 1] |
| token budget | {format_budget(model.budget)} |
| test protocol | {protocol.clips}x{protocol.crops} views, {protocol.average} averaged |

```bash
vidtok infer clip.mp4 --checkpoint THIS_FOLDER
```

```python
import vidtok

model = vidtok.load("THIS_FOLDER")
vidtok.predict(["clip.mp4"], model=model, topk=5)
```

State the training data, its licence and the accuracy with its protocol here before publishing.
"""
