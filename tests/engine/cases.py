"""A named tiny model, a few readable and unreadable videos and lists of them, for evaluation and inference."""

from pathlib import Path

import torch

from tests.data.videos import write_counter
from tests.models.tiny import perturb, tiny_model
from vidtok.config import EvalConfig
from vidtok.models.backbones import VideoModel

NAMES = ("run", "sit", "stand up")


def named_model() -> VideoModel:
    """LookupViT in the factorised encoder, 4 frames of 32 pixels, 3 named classes, views 2x3."""
    torch.manual_seed(0)
    model = tiny_model("vivit_fe", patch=8, compressor={"kind": "lookup", "budget": "3x3"})
    perturb(model, 0.3)
    model.class_names = NAMES
    model.eval_protocol = EvalConfig(clips=2, crops=3, batch_size=4)
    return model.eval()


def write_set(folder: Path) -> Path:
    """``folder/test.csv`` with 6 videos: 4 readable, ``broken.mp4`` of plain text, ``gone.mp4`` absent."""
    rows = []
    for number in range(4):
        write_counter(folder / f"v{number}.mp4", frames=12 + 4 * number, height=36 + 8 * number)
        rows.append(f"v{number}.mp4 {number % 3}")
    (folder / "broken.mp4").write_text("not a video")
    rows += ["broken.mp4 1", "gone.mp4 2"]
    (folder / "test.csv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "pairs.csv").write_text("run,sit\n")
    return folder / "test.csv"
