"""Labelling files, folders and patterns."""

import csv
import json
import os
from pathlib import Path

import pytest
import torch

import vidtok
from tests.data.videos import write_counter
from tests.engine.cases import NAMES, named_model
from vidtok.engine.infer import InferOptions, default_checkpoint, expand_inputs, infer_videos
from vidtok.engine.predict import Compute
from vidtok.engine.windows import Window
from vidtok.errors import ConfigError, DataError
from vidtok.models.backbones import VideoModel

CPU = Compute(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return named_model()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_counter(tmp_path_factory.mktemp("video") / "clip.mp4", frames=20, fps=8))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folders_give_their_videos_of_all_depths_in_sorted_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.mp4", "b/1.MKV", "a.webm", "notes.txt", "b/music.mp3")
    found = [os.path.relpath(item.path, tmp_path) for item in expand_inputs([str(tmp_path)])]
    assert found == ["a.webm", "b/1.MKV", "b/2.mp4"]


def test_patterns_files_and_lines_keep_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    touch(tmp_path, "x2.mp4", "x1.mp4", "odd[1].mp4")
    odd = str(tmp_path / "odd[1].mp4")
    inputs = [odd, str(tmp_path / "x*.mp4"), "-", "absent.mp4"]
    found = [item.path for item in expand_inputs(inputs, ["p.mp4\n", "\n", "q r.mp4\n"])]
    assert found == [odd, str(tmp_path / "x1.mp4"), str(tmp_path / "x2.mp4"), "p.mp4", "q r.mp4", "absent.mp4"]


def test_a_folder_or_pattern_without_videos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no video files"):
        list(expand_inputs([str(tmp_path)]))
    with pytest.raises(DataError, match="no file matches"):
        list(expand_inputs([str(tmp_path / "*.mp4")]))


def test_views_are_the_checkpoints_but_at_most_4x1_unless_asked(model: VideoModel) -> None:
    assert InferOptions.for_model(model) == InferOptions(clips=2, crops=1)
    assert InferOptions.for_model(model, views="8x3") == InferOptions(clips=8, crops=3)
    many = named_model()
    many.eval_protocol = many.eval_protocol.model_copy(update={"clips": 10})
    assert InferOptions.for_model(many) == InferOptions(clips=4, crops=1)


def test_a_result_tells_classes_frames_and_the_counted_length(model: VideoModel, video: str) -> None:
    (result,) = vidtok.predict(video, model=model, topk=9)
    assert json.loads(json.dumps(result)) == result
    assert list(result) == ["path", "start_s", "end_s", "top", "frames", "decoder", "num_frames", "fps", "error"]
    assert (result["start_s"], result["end_s"], result["num_frames"], result["fps"]) == (0.0, 2.5, 20, 8.0)
    assert sorted(row["label"] for row in result["top"]) == sorted(NAMES)
    assert sum(row["score"] for row in result["top"]) == pytest.approx(1, abs=1e-5)
    assert result["frames"] == [[0, 2, 4, 6], [12, 14, 16, 18]]
    assert result["error"] is None and result["decoder"] == "pyav"


def test_a_video_that_cannot_be_read_is_a_result_and_the_others_go_on(model: VideoModel, video: str) -> None:
    good, bad = vidtok.predict([video, "absent.mp4"], model=model)
    assert good["error"] is None
    assert bad["error"].startswith("absent.mp4: ") and "\n" not in bad["error"]
    assert bad.keys() == good.keys()
    assert bad["top"] == bad["frames"] == [] and bad["num_frames"] is None


def test_windows_give_one_result_each_from_their_own_frames(model: VideoModel, video: str) -> None:
    options = InferOptions(clips=1, window=Window(seconds=1, stride_seconds=0.5))
    results = list(infer_videos(model, [video], options, compute=CPU))
    assert [(result["start_s"], result["end_s"]) for result in results] == [(0, 1), (0.5, 1.5), (1, 2), (1.5, 2.5)]
    for result in results:
        frames = result["frames"][0]
        assert result["start_s"] <= min(frames) / 8 and max(frames) / 8 < result["end_s"]


def test_results_come_while_later_videos_are_not_yet_touched(model: VideoModel, video: str) -> None:
    def paths() -> object:
        yield video
        pytest.fail("looked ahead")

    assert next(infer_videos(model, paths(), InferOptions(), compute=CPU))["path"] == video


def test_prediction_leaves_the_model_as_it_was(video: str) -> None:
    model = named_model().train()
    vidtok.predict([video], model=model, budget="1x1")
    assert model.training and model.budget == (3, 3)
    assert vidtok.predict([video], model=model) == vidtok.predict([video], model=model.eval())


def test_views_and_budgets_that_cannot_be_are_refused(model: VideoModel, video: str) -> None:
    with pytest.raises(ConfigError, match="views"):
        vidtok.predict(video, model=model, views="3x2")
    with pytest.raises(ConfigError, match="budget"):
        vidtok.predict(video, model=model, budget="9x9")


def test_the_default_checkpoint_is_the_environments_then_a_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDTOK_CHECKPOINT", "somewhere")
    assert default_checkpoint() == "somewhere"
    monkeypatch.delenv("VIDTOK_CHECKPOINT")
    assert default_checkpoint().startswith("hf://")


HARD_FILES = [
    "audio_only.mp3",
    "no_video_ttml.mp4",
    "empty_0_bytes.webm",
    "invalid_nalu_h264.mp4",
    "editlist_negative_pts_h264.mp4",
    "decord_video_90.mov",
    "vfr_slow_motion_h264.mp4",
    "h264_1x1_yuv444.mp4",
    "mpeg2_program_stream.ps",
    "anim_314x273.gif",
]


@pytest.mark.parametrize("files", [HARD_FILES, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_difficult_real_files_give_a_result_with_the_frame_count_of_ffmpeg(
    model: VideoModel, shared_data: Path, files: list[str] | None
) -> None:
    with (shared_data / "formats" / "expected.csv").open(newline="") as stream:
        expected = {row["file"]: row["ffmpeg_frames"] for row in csv.DictReader(stream)}
    paths = [str(shared_data / "formats" / file) for file in files or expected]
    options = InferOptions(clips=1, topk=1)
    results = {Path(result["path"]).name: result for result in infer_videos(model, paths, options, compute=CPU)}
    failed = {file for file, result in results.items() if result["error"]}
    assert failed == {"audio_only.mp3", "no_video_ttml.mp4", "empty_0_bytes.webm"}
    counted = {file: str(result["num_frames"]) for file, result in results.items() if file not in failed}
    assert len(counted) == len(paths) - 3
    assert counted == {file: expected[file] for file in counted}


@pytest.mark.parametrize("odd", ["a\0b.mp4", "rtsp://127.0.0.1:8554/cam", "camera:0", "/dev/video0", "0"])
def test_what_is_no_file_name_is_one_failed_result_and_the_batch_goes_on(
    odd: str, model: VideoModel, video: str
) -> None:
    failed, good = infer_videos(model, [odd, video], InferOptions(clips=1), compute=CPU)
    assert failed["path"] == odd and failed["error"].startswith(f"{odd}: ") and failed["top"] == []
    assert ("NUL" if "\0" in odd else "record pieces") in failed["error"]
    assert good["error"] is None


def test_a_file_may_be_called_like_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_counter(tmp_path / "0.mp4").rename("0")
    (result,) = vidtok.predict("0", model=named_model())
    assert result["error"] is None


def test_scores_that_are_not_finite_are_a_failure_of_their_window(video: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = named_model()
    plain, calls = model.answer, []

    def second_answer_nan(heads: torch.Tensor) -> torch.Tensor:
        calls.append(heads)
        return plain(heads) * (torch.nan if len(calls) == 2 else 1)

    monkeypatch.setattr(model, "answer", second_answer_nan)
    options = InferOptions(clips=1, window=Window(seconds=1, stride_seconds=1))
    first, second, *_ = infer_videos(model, [video], options, compute=CPU)
    assert first["error"] is None and len(first["top"]) == 3
    assert second["top"] == [] and "scores are not finite" in second["error"] and second["start_s"] == 1.0
