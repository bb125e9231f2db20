"""Pictures and the labelled video."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
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


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


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


def test_pictures_are_png_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    figure = visualize.new_figure(1, 1)
    with pytest.raises(ConfigError, match=r"must end with \.png"):
        visualize.save(figure, tmp_path / "a.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        visualize.save(figure, tmp_path / "file" / "a.png")


@pytest.mark.parametrize("num_classes", [2, 12, 30, 400])
def test_a_confusion_matrix_of_any_size_can_be_drawn(num_classes: int) -> None:
    confusion = np.random.default_rng(0).integers(0, 9, (num_classes, num_classes))
    confusion[0] = 0  # a class without videos
    labels = [f"class {index}" for index in range(num_classes)]
    figure = visualize.confusion_picture(confusion, labels)
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == ([str(count) for count in confusion.ravel() if count] if num_classes <= 20 else [])
    assert pixels_of(visualize.to_png(figure, dpi=40)).std() > 0


def test_class_bars_leave_out_classes_without_videos_and_keep_the_worst() -> None:
    accuracy = np.array([0.5, np.nan, 1.0, 0.0])
    figure = visualize.class_bars(accuracy, ["a", "b", "c", "d"], most=2)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "d"]
    visualize.to_png(figure, dpi=40)


def test_the_budget_chart_goes_from_cheap_to_dear() -> None:
    rows = [
        {"budget": "5x5", "gmacs_per_view": 9.0, "top1": 0.8, "top1_se": 0.01},
        {"budget": "3x3", "gmacs_per_view": 4.0, "top1": 0.7, "top1_se": 0.01},
    ]
    figure = visualize.budget_chart(rows)
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [4.0, 9.0] and line.get_ydata().tolist() == [70.0, 80.0]
    visualize.to_png(figure, dpi=40)


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
