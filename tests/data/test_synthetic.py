"""The motion set on disk: lists, splits, files and the check script that guards its difficulty."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from vidtok.data.motion import CLASS_NAMES, MotionOptions, render_clip
from vidtok.data.synthetic import SPLITS, write_motion_set, write_mp4
from vidtok.errors import ConfigError

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_motion_set.py"
SMALL = {"clips": 130, "seed": 4, "size": 32, "frames": 8, "fps": 6}


@pytest.fixture(scope="module")
def motion_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motion_set(tmp_path_factory.mktemp("set") / "motion", **SMALL, processes=1)


def rows(folder: Path, split: str) -> list[tuple[str, int]]:
    lines = (folder / f"{split}.csv").read_text().splitlines()
    return [(name, int(label)) for name, label in (line.split(" ") for line in lines)]


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_lists_name_existing_files_beside_them_with_their_labels(motion_set):
    names = (motion_set / "classes.txt").read_text().splitlines()
    assert names == list(CLASS_NAMES)
    for split in SPLITS:
        for name, label in rows(motion_set, split):
            assert (motion_set / name).is_file()
            assert name.startswith(f"videos/{split}/{names[label]}_") and name.endswith(".mp4")


def test_a_tenth_is_for_validation_a_tenth_for_test_and_no_file_is_unlisted(motion_set):
    counts = {split: len(rows(motion_set, split)) for split in SPLITS}
    assert counts == {"train": 104, "val": 13, "test": 13}
    assert len(list(motion_set.glob("videos/*/*.mp4"))) == SMALL["clips"]


@pytest.mark.parametrize("split", SPLITS)
def test_classes_are_balanced_to_one_clip_in_every_split(motion_set, split):
    counts = Counter(label for _, label in rows(motion_set, split))
    assert set(counts) == set(range(len(CLASS_NAMES)))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_no_clip_is_in_the_set_twice_forwards_or_backwards(motion_set):
    """Splits are disjoint in content, not in names alone."""
    seen = set()
    for split in SPLITS:
        for name, _ in rows(motion_set, split):
            clip = decode(motion_set / name)
            seen |= {clip.tobytes(), clip[::-1].tobytes()}
    assert len(seen) == 2 * SMALL["clips"]


def test_files_are_the_rendered_clips_as_h264(motion_set):
    name, label = rows(motion_set, "val")[3]
    path = motion_set / name
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == SMALL["fps"]
    clip = render_clip(
        CLASS_NAMES[label],
        np.random.default_rng((4, SPLITS.index("val"), 3)),
        size=32,
        frames=8,
        options=MotionOptions(),
    )
    decoded = decode(path)
    assert decoded.shape == (8, 32, 32, 3)
    # Half the colour resolution is lost on tiny, colourful pictures; another clip of the set is 3 times as far.
    assert np.abs(decoded.astype(int) - clip).mean() < 10


def test_the_number_of_processes_does_not_change_a_byte(motion_set, tmp_path):
    other = write_motion_set(tmp_path / "other", **SMALL, processes=2)
    files = sorted(path.relative_to(motion_set) for path in motion_set.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((motion_set / path).read_bytes() == (other / path).read_bytes() for path in files)


def test_another_seed_gives_other_clips(motion_set, tmp_path):
    other = write_motion_set(tmp_path / "other", **SMALL | {"seed": 5, "clips": 10}, processes=1)
    name, _ = rows(other, "test")[0]
    assert (decode(other / name) != decode(motion_set / name)).any()


def test_a_set_that_is_there_stays_and_another_one_is_refused(tmp_path):
    tiny = SMALL | {"clips": 10}
    calls: list[tuple[int, int]] = []
    out = write_motion_set(tmp_path / "set", **tiny, processes=1, on_clip=lambda *call: calls.append(call))
    assert calls == [(done, 10) for done in range(1, 11)]
    write_motion_set(out, **tiny, processes=1, on_clip=lambda *call: calls.append(call))
    assert len(calls) == 10
    with pytest.raises(ConfigError, match="made with other values"):
        write_motion_set(out, **tiny | {"seed": 9}, processes=1)


def test_an_unfinished_set_is_written_again(tmp_path):
    tiny = SMALL | {"clips": 10}
    out = write_motion_set(tmp_path / "set", **tiny, processes=1)
    (out / "motion_set.json").unlink()
    name, _ = rows(out, "train")[0]
    whole = (out / name).read_bytes()
    (out / name).write_bytes(whole[:100])
    write_motion_set(out, **tiny, processes=1)
    assert (out / name).read_bytes() == whole


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clips": 9}, "clips is 9: give at least 10"),
        ({"seed": -1}, "seed is -1"),
        ({"size": 65}, "size is 65: give an even number, at least 32"),
        ({"size": 30}, "size is 30"),
        ({"frames": 7}, "frames is 7"),
        ({"fps": 0}, "fps is 0"),
        ({"processes": 0}, "processes is 0"),
        ({"difficulty": "insane"}, "difficulty is 'insane': choose one of easy, normal, hard"),
    ],
)
def test_values_outside_their_range_are_refused_before_anything_is_written(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        write_motion_set(tmp_path / "set", **SMALL | values)
    assert not (tmp_path / "set").exists()


def test_sides_of_any_even_size_are_written(tmp_path):
    clip = np.zeros((5, 34, 50, 3), dtype=np.uint8)
    write_mp4(tmp_path / "clip.mp4", clip, fps=10)
    assert decode(tmp_path / "clip.mp4").shape == clip.shape


@pytest.fixture(scope="module")
def check_script():
    spec = importlib.util.spec_from_file_location("check_motion_set", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_check_reports_a_score_for_each_kind_of_feature_and_exits_with_7_when_one_is_too_high(
    check_script, motion_set, capsys
):
    assert check_script.main([str(motion_set), "--json", "--max-accuracy", "0"]) == 7
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["schema"] == "vidtok.motion_check/1"
    assert document["clips"] == {"train": 104, "val": 13, "test": 13}
    assert [score["features"] for score in document["scores"]] == list(check_script.FEATURES)
    assert all(0 <= score["accuracy"] <= 1 for score in document["scores"])
    assert "too easy" in err


def test_the_check_passes_a_set_on_which_regressions_do_badly(check_script):
    check_script.require_hard([check_script.Score(check_script.FEATURES[0], 0.39, 0.02, 0.4, 0.1)], 0.4)


def test_the_check_exits_with_3_without_a_set(check_script, tmp_path, capsys):
    assert check_script.main([str(tmp_path)]) == 3
    assert "train.csv does not exist" in capsys.readouterr().err


def test_a_logistic_regression_finds_what_a_line_can_separate(check_script):
    """The check would mean nothing if its classifier could not learn."""
    import torch

    y = torch.arange(90) % 3
    x = torch.randn(90, 12, generator=torch.Generator().manual_seed(0))
    x[torch.arange(90), y] += 6
    parts = {"train": slice(0, 60), "val": slice(60, 75), "test": slice(75, 90)}
    found = check_script.score(
        "toy", {split: x[part] for split, part in parts.items()}, {split: y[part] for split, part in parts.items()}, 3
    )
    assert found.accuracy == 1.0
