"""The files that stand for real difficult ones are as difficult, and are read as exactly."""

import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.data.difficult_files import DAMAGED, DIFFICULT, TWINS, UNREADABLE
from tests.data.video_files import reference_frames
from vidtok.data.decode import decode_frames, probe
from vidtok.data.verify import check_video
from vidtok.errors import DecodeError

READABLE = [name for name in DIFFICULT if name not in UNREADABLE]


@pytest.mark.parametrize("name", READABLE)
def test_frames_are_those_of_a_plain_loop_over_the_file(difficult: Path, name: str) -> None:
    count, stored = reference_frames(difficult / name)
    decoded = decode_frames(difficult / name, lambda info: np.arange(info.num_frames), verify=True)
    turns = decoded.info.rotation // 90
    assert decoded.info.num_frames == len(decoded.frames) == count
    for number, frame in stored.items():
        np.testing.assert_array_equal(decoded.frames[number], np.rot90(frame, turns))


@pytest.mark.parametrize("name", READABLE)
def test_a_check_counts_the_frames_and_finds_the_damage(difficult: Path, name: str) -> None:
    record = check_video(str(difficult / name), deadline_seconds=60)
    assert record["frames"] == reference_frames(difficult / name, wanted=())[0]
    assert record["damaged"] == (name in DAMAGED)
    assert record["frames"] == record["promised"] or record["damaged"] or record["fallback"]


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_says_why(difficult: Path, name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        check_video(str(difficult / name), deadline_seconds=60)
    assert str(caught.value).startswith(f"{difficult / name}: ") and UNREADABLE[name] in str(caught.value)


def traits(path: Path) -> dict[str, Any]:
    """What makes a file the kind that it is; only why it cannot be read where it cannot."""
    try:
        info = probe(path)
    except DecodeError as error:
        return {"unreadable": str(error).removeprefix(f"{path}: ").partition(";")[0]}
    with av.open(path) as container:
        video = container.streams.video[0]
        return {
            "container": container.format.name,
            "codec": info.codec,
            "pixels": video.codec_context.pix_fmt,
            "rotation": info.rotation,
            "is_odd": info.width % 2 + info.height % 2 > 0,
            "is_portrait": info.height > info.width,
            "is_one_pixel": info.width * info.height == 1,
            "has_wide_pixels": (video.sample_aspect_ratio or 1) > 1.2,
            "has_several_streams": len(container.streams.video) > 1,
            "has_uneven_times": info.num_frames > 1 and _is_uneven(np.diff(info.pts_seconds)),
            "is_long": info.num_frames > 1000,
            "overstates_its_duration": (container.duration or 0) / av.time_base > 100 * info.duration_seconds,
        }


def _is_uneven(steps: np.ndarray) -> bool:
    return bool(np.ptp(steps) > 0.2 * steps.mean())


def test_each_real_file_has_a_twin_of_its_kind(shared_data: Path, difficult: Path) -> None:
    with (shared_data / "formats" / "expected.csv").open(newline="") as lines:
        rows = {row["file"]: row for row in csv.DictReader(lines)}
    assert set(rows) == set(TWINS)
    damaged = {TWINS[name] for name, row in rows.items() if row["pyav_note"] and row["ffmpeg_frames"] not in ("", "0")}
    assert damaged <= DAMAGED
    differences = {
        name: {key: (value, ours[key]) for key, value in theirs.items() if ours.get(key) != value}
        for name, twin in TWINS.items()
        for theirs, ours in [(traits(shared_data / "formats" / name), traits(difficult / twin))]
    }
    assert {name: found for name, found in differences.items() if found} == {}
