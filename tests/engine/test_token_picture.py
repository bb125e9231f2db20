import av
import numpy as np
import pytest
import torch

from tests.models.tiny import tiny_model
from vidtok.data.dataset import VideoViews
from vidtok.data.decode import probe
from vidtok.engine.token_picture import (
    chosen_layers,
    render_attention,
    render_tokens,
    step_frames,
    trace_clip,
    write_tokens,
)
from vidtok.errors import ConfigError

LATTICE = (2, 2, 2)


def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def test_tokens_of_one_patch_each_show_the_frames_as_they_are():
    assert np.array_equal(render_tokens(frames(), torch.eye(8), LATTICE), frames())


def test_a_merged_token_shows_its_mean_colour_and_a_dropped_patch_is_dark():
    source = torch.zeros(2, 8)
    source[0, :2] = 0.5  # the upper two patches of the first step
    source[1, 2] = 1.0
    drawn = render_tokens(frames(), source, LATTICE)
    expected = np.rint(frames()[0, :8].reshape(-1, 3).mean(0))
    inner = drawn[0, 1:7, 1:7].reshape(-1, 3).astype(float)
    assert np.abs(inner - expected).max() <= 1
    assert np.array_equal(drawn[0, 10:, 1:7], frames()[0, 10:, 1:7])
    assert drawn[1].max() <= 0.12 * 255 + 1


def test_attention_lights_the_patches_that_get_it():
    source = torch.full((3, 8), 0.01)
    source[:, 5] = 0.93
    drawn = render_attention(frames(), source, LATTICE)
    assert np.array_equal(drawn[1, :8, 8:], frames()[1, :8, 8:])
    assert drawn[0].mean() < 0.2 * frames()[0].mean()


def test_layers_are_those_that_reduce_or_else_some_of_all():
    assert chosen_layers([8, 8, 4, 4, 2]) == [2, 4]
    assert chosen_layers([8] * 12) == [0, 4, 7, 11]


def test_a_clip_is_traced_and_shown_step_by_step():
    model = tiny_model("vivit", depth=4, size=64, compressor={"kind": "evit", "budget": 0.5})
    clip = torch.randint(0, 256, (3, 4, 64, 64), dtype=torch.uint8)
    assert [tuple(source.shape) for source in trace_clip(model, clip)] == [(32, 32), (17, 32), (10, 32), (6, 32)]
    assert np.array_equal(step_frames(clip, 2), clip[:, 1::2].permute(1, 2, 3, 0).numpy())


@pytest.mark.parametrize("kind", ["evit", "lookup"])
@pytest.mark.parametrize("suffix", [".png", ".mp4"])
def test_pictures_are_written(motion_set, tmp_path, kind: str, suffix: str):
    budget = "2x2" if kind == "lookup" else 0.5
    model = tiny_model("vivit", depth=4, size=64, compressor={"kind": kind, "budget": budget})
    views = torch.randint(0, 256, (1, 3, 4, 64, 64), dtype=torch.uint8)
    video = VideoViews(
        views, np.arange(4)[None], probe(next(motion_set.glob("videos/*/*.mp4"))), "pyav", None, (0.0, 1.0)
    )
    write_tokens(model, video, tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").stat().st_size > 500
    if suffix == ".mp4":
        with av.open(str(tmp_path / "out.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 2 and frames[0].shape[:2] == (448 + 44, 2 * 448)
        assert frames[0][:44].max() > 200  # the titles
    with pytest.raises(ConfigError, match="must end with .png or .mp4"):
        write_tokens(model, video, tmp_path / "out.gif")
