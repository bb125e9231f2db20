"""Pictures and the labelled video."""

from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests.data.videos import grey_level, write_counter
from vidtok.config import ClipConfig
from vidtok.configio import validate
from vidtok.data.dataset import load_views
from vidtok.data.preview import train_look, view_looks
from vidtok.engine import visualize
from vidtok.engine.overlay import write_overlay
from vidtok.errors import ConfigError, EnvironmentFault


def result_of(path: Path, **fields: Any) -> dict[str, Any]:
    top = [{"label": "a $label_1", "score": 0.75}, {"label": "b", "score": 0.25}]
    return {"path": str(path), "start_s": 0.0, "end_s": 9.0, "top": top, "error": None} | fields


def test_the_contact_sheet_shows_the_frames_that_were_sampled(tmp_path: Path) -> None:
    video = write_counter(tmp_path / "v.mp4", frames=20)
    views = load_views(str(video), ClipConfig(frames=4, stride=2, size=32), num_clips=2, num_crops=3)
    figure = visualize.contact_sheet(views, result_of(video), num_crops=3)
    page = figure.axes[0]
    assert len(page.images) == 8
    shown = [float(image.get_array().mean()) for image in page.images]
    expected = [grey_level(frame) for frame in views.indices.ravel()]
    assert shown == pytest.approx(expected, abs=3)  # coding, colour conversion and the darker edge: below half a step
    captions = [text.get_text() for text in page.texts]
    assert {f"{frame / 8:.2f} s" for frame in views.indices.ravel()} <= set(captions)
    assert "a $label_1" in captions and "75.0 %" in captions
    visualize.save_contact_sheet(views, result_of(video), tmp_path / "new" / "sheet.png", num_crops=3)
    with Image.open(tmp_path / "new" / "sheet.png") as picture:
        assert picture.size == pytest.approx(figure.get_size_inches() * 144, abs=1)


def test_the_sheet_of_a_window_says_which_of_how_many_and_the_size_that_the_model_sees(tmp_path: Path) -> None:
    video = write_counter(tmp_path / "v.mp4", frames=20)
    views = load_views(str(video), ClipConfig(frames=4, size=64), num_clips=1, num_crops=1, window_seconds=(1.0, 2.0))
    result = result_of(video, start_s=1.0, end_s=2.0)
    figure = visualize.contact_sheet(views, result, place="window 2 of 3, 1.0-2.0 s", seen=32)
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "; window 2 of 3, 1.0-2.0 s; the model sees 1 clip of 4 frames at 32x32" in texts
    whole = visualize.contact_sheet(views, result)
    assert len(figure.axes[0].lines) == len(whole.axes[0].lines) + 1  # the window on the timeline


def test_pictures_are_png_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    figure = visualize.new_figure(1, 1)
    with pytest.raises(ConfigError, match=r"must end with \.png"):
        visualize.save(figure, tmp_path / "a.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        visualize.save(figure, tmp_path / "file" / "a.png")


@pytest.mark.parametrize(("height", "width"), [(96, 128), (48, 64)])
def test_the_overlay_has_every_frame_and_writes_on_the_lower_edge_only(tmp_path: Path, height: int, width: int) -> None:
    video = write_counter(tmp_path / "v.mp4", frames=20, height=height, width=width)
    windows = [result_of(video, end_s=1.0), result_of(video, start_s=1.0, top=[{"label": "b", "score": 1.0}])]
    write_overlay(windows, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 20 and frames[0].shape == (height, width, 3)
    for number, frame in enumerate(frames):
        assert frame[: height // 3, width // 2 :].mean() == pytest.approx(grey_level(number), abs=4)
    assert frames[19][-3:].mean() < 0.6 * grey_level(19)


def test_an_overlay_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    video = write_counter(tmp_path / "v.mp4")
    with pytest.raises(ConfigError, match=r"must end with \.mp4"):
        write_overlay([result_of(video)], tmp_path / "o.avi")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        write_overlay([result_of(video)], tmp_path / "file" / "o.mp4")


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_frame_that_a_recipe_sees_has_its_number_time_and_boxes(tmp_path: Path, split: str) -> None:
    path = str(write_counter(tmp_path / "v.mp4", frames=24))
    recipe = validate({"clip": {"frames": 5, "stride": 2, "size": 32}, "eval": {"clips": 2, "crops": 3}})
    looks = view_looks(path, recipe) if split == "test" else [train_look(path, recipe, epoch=0, index=0)]
    [page] = visualize.looks_sheet(looks, "a title").axes
    texts = [text.get_text() for text in page.texts]
    for look in looks:
        for number in look.indices:
            assert f"#{number}  {look.info.pts_seconds[number]:.2f} s" in texts
    assert len(page.patches) == sum(len(look.indices) * len(look.boxes) for look in looks)
    assert len(page.images) == sum(len(look.indices) * (1 + len(look.clips)) for look in looks)
