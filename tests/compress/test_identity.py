"""Laws that hold for every compressor."""

import pytest
import torch

from tests.compress.test_pairs import CASES
from tests.models.tiny import perturb, tiny_clip, tiny_model


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("case", CASES)
def test_over_one_step_joint_space_time_attention_is_the_image_model(case, pool):
    torch.manual_seed(0)
    fields, budgets = CASES[case]
    compressor = {"kind": "none", **fields, **({"budget": budgets[0]} if fields else {})}
    of_image = {key: value for key, value in compressor.items() if key != "keys"}  # there are no other steps' keys
    options = {"size": 64, "frames": 1, "depth": 4}
    image = tiny_model({"kind": "vit", "pool": pool}, compressor=of_image, **options)
    video = tiny_model({"kind": "vivit", "tubelet": 1, "gelu": "erf", "pool": pool}, compressor=compressor, **options)
    perturb(image)
    video.load_state_dict(image.state_dict())
    clip = tiny_clip(frames=1, size=64)
    assert torch.equal(video(clip), image(clip))
    assert video.token_counts == image.token_counts
