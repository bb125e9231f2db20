"""Real files: camera footage and the difficult files of other projects' test suites."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.video_files import need_engine, psnr, reference_frames
from vidtok.data.decode import FrameListChanged, Reader, VideoInfo, decode_frames, open_video
from vidtok.data.yuv import rgb_matrix, yuv420_to_rgb
from vidtok.errors import DecodeError

UNREADABLE = {"audio_only.mp3", "no_video_ttml.mp4", "empty_0_bytes.webm"}
SUFFIXES = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".gif", ".ts", ".flv", ".3gp", ".ps"}

LARGEST_READ_BYTES = 400_000_000


def expected_counts(shared_data: Path) -> dict[str, int | None]:
    """Frames that ffmpeg recovers, by name of the file; None where there is no video."""
    with (shared_data / "formats" / "expected.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row["file"]: int(row["ffmpeg_frames"]) if row["ffmpeg_frames"] else None for row in rows}


def spread(info: VideoInfo) -> np.ndarray:
    """Four frame numbers over the whole video."""
    return np.linspace(0, info.num_frames - 1, 4).astype(int)


def readable_files(shared_data: Path, *, every_fight: int) -> list[Path]:
    """All difficult files and clips that have video, and every n-th of the many surveillance clips."""
    files = sorted(path for path in shared_data.rglob("*") if path.suffix in SUFFIXES and path.name not in UNREADABLE)
    fights = [path for path in files if "fight2" in path.parts]
    return [path for path in files if "fight2" not in path.parts] + fights[::every_fight]


def choices(num_frames: int, seed: int) -> list[np.ndarray]:
    """Frame numbers as a recogniser asks for them, and single ones at random."""
    rng = np.random.default_rng(seed)
    start = rng.integers(max(num_frames - 61, 1))
    return [
        np.linspace(0, num_frames - 1, 8).round().astype(int),
        np.minimum(start + 4 * np.arange(16), num_frames - 1),
        rng.integers(0, num_frames, 6),
        *rng.integers(0, num_frames, (6, 1)),
    ]


def test_difficult_files_have_the_frames_that_ffmpeg_recovers(shared_data: Path) -> None:
    counts = {name: count for name, count in expected_counts(shared_data).items() if count is not None}
    found = {}
    for name in counts:
        decoded = decode_frames(shared_data / "formats" / name, spread, short_side=32, verify=True, deadline_seconds=60)
        assert len(decoded.frames) == 4 and min(decoded.frames.shape[1:3]) == 32
        assert np.all(np.diff(decoded.info.pts_seconds) >= 0) and decoded.info.fps > 0
        found[name] = decoded.info.num_frames
    assert found == counts


def test_the_files_without_video_say_so(shared_data: Path) -> None:
    expected = expected_counts(shared_data)
    assert {name for name, count in expected.items() if count is None} == UNREADABLE
    for name in UNREADABLE:
        with pytest.raises(DecodeError, match=rf"{name}: (has no video stream|is empty)"):
            decode_frames(shared_data / "formats" / name, spread)


def test_clips_are_read_by_decord_where_it_is_exact_and_by_pyav_elsewhere(shared_data: Path) -> None:
    pytest.importorskip("decord")
    fallbacks = {}
    for path in sorted((shared_data / "clips").glob("*.*")):
        if path.suffix in SUFFIXES:
            with open_video(path, decoder="decord") as reader:
                fallbacks[path.name] = reader.fallback
    packed = {"hmdb_wave_ratrace.avi", "hmdb_wave_schoolrules.avi", "ucf_apply_eye_makeup.avi"}
    assert {name for name, cause in fallbacks.items() if cause} == packed


def settled_reader(path: Path, decoder: str) -> Reader:
    """A reader that has looked for damage."""
    reader = open_video(path, decoder=decoder)
    try:
        reader.read(np.arange(0), verify=True)
    except FrameListChanged:
        assert reader.name == "pyav"
    return reader


@pytest.mark.slow
def test_every_choice_of_frames_of_every_file_equals_the_plain_loop(shared_data: Path) -> None:
    for seed, path in enumerate(readable_files(shared_data, every_fight=4)):
        with settled_reader(path, "pyav") as reader:
            asked = choices(reader.info.num_frames, seed)
            count, stored = reference_frames(path, set(np.concatenate(asked).tolist()))
            assert reader.info.num_frames == count
            for numbers in asked:
                theirs = np.stack([np.rot90(stored[number], reader.info.rotation // 90) for number in numbers])
                np.testing.assert_array_equal(reader.read(numbers), theirs, err_msg=f"{path} {numbers}")


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
@pytest.mark.parametrize("short_side", [None, 224])
def test_other_engines_repeat_their_own_frames_and_agree_with_pyav(
    shared_data: Path, short_side: int | None, decoder: str
) -> None:
    need_engine(decoder)
    engines = []
    for seed, path in enumerate(readable_files(shared_data, every_fight=8)):
        with settled_reader(path, decoder) as reader, settled_reader(path, "pyav") as reference:
            engines.append(reader.name)
            if reader.name == "pyav":
                continue
            frame_bytes = reader.info.width * reader.info.height * 3
            num_frames = min(reader.info.num_frames, LARGEST_READ_BYTES // frame_bytes)
            sequential = reader.read(np.arange(num_frames), short_side=short_side)
            for numbers in choices(num_frames, seed):
                ours = reader.read(numbers, short_side=short_side)
                np.testing.assert_array_equal(ours, sequential[numbers], err_msg=f"{path} {numbers}")
            assert psnr(ours, reference.read(numbers, short_side=short_side)) >= 38, path
            assert reader.name == decoder, reader.fallback
    assert engines.count(decoder) > engines.count("pyav") > 0


@pytest.mark.slow
def test_planes_become_the_rgb_of_the_decoder_on_real_files(shared_data: Path) -> None:
    for path in readable_files(shared_data, every_fight=8):
        if "10bit" in path.name or "yuv444" in path.name or path.suffix == ".gif":
            continue  # FFmpeg converts these along other paths
        theirs = decode_frames(path, spread, verify=True)
        planes = decode_frames(path, spread, verify=True, pixel_format="yuv420")
        height, width = theirs.frames.shape[1:3]
        if height % 2 or width % 2:
            continue
        rgb = yuv420_to_rgb(torch.from_numpy(planes.frames), rgb_matrix(planes.info)).permute(1, 2, 3, 0)
        assert psnr(theirs.frames, rgb.numpy()) >= 42, path
