"""A child process reads the videos: whatever happens to it costs one video and never the caller."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from tests.data import fake_engines as fakes
from tests.data.video_files import NUM_FRAMES, frame_numbers
from vidtok.data.decode import decode_frames, open_video
from vidtok.data.decode.isolated import IsolatedReader
from vidtok.errors import DecodeError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake engines use POSIX signals")


def read_with(engine: Callable[..., object], *, deadline_seconds: float = 60) -> np.ndarray:
    with IsolatedReader(engine, "clip.mp4", deadline_seconds=deadline_seconds) as reader:
        return reader.read(np.array([5, 2]))


def test_frames_come_over_unchanged() -> None:
    frames = read_with(fakes.FakeReader)
    assert frames.shape == (2, 2, 4, 3) and frames.dtype == np.uint8
    assert frames[:, 0, 0, 0].tolist() == [5, 2]


def test_no_frames_come_over_as_none() -> None:
    with IsolatedReader(fakes.FakeReader, "clip.mp4") as reader:
        assert reader.read(np.array([], dtype=int)).shape == (0, 2, 4, 3)


@pytest.mark.parametrize("engine", [fakes.HangingReader, fakes.HangingOnOpen])
def test_a_native_hang_that_holds_the_lock_ends_at_the_deadline(engine: type[fakes.FakeReader]) -> None:
    read_with(fakes.FakeReader)  # so that no start of a process is timed
    start = time.monotonic()
    with pytest.raises(DecodeError, match=r"clip\.mp4: not decoded within the deadline of 0\.2 s"):
        read_with(engine, deadline_seconds=0.2)
    assert time.monotonic() - start < 10


def test_a_crash_is_a_decode_error_that_names_the_file_and_the_signal() -> None:
    with pytest.raises(DecodeError, match=r"clip\.mp4: crashed its decoder \(signal 11\)"):
        read_with(fakes.CrashingReader)


def test_too_little_memory_is_a_decode_error_and_no_end_of_the_process() -> None:
    with IsolatedReader(fakes.GreedyReader, "clip.mp4") as reader:
        for _ in range(2):
            with pytest.raises(DecodeError, match=r"clip\.mp4: .* more memory than there is"):
                reader.read(np.array([0]))


def test_after_a_crash_the_next_file_is_read() -> None:
    for _ in range(2):
        with pytest.raises(DecodeError, match="crashed"):
            read_with(fakes.CrashingReader)
        assert read_with(fakes.FakeReader)[0, 0, 0, 0] == 5


def test_a_reader_whose_process_is_lost_says_so() -> None:
    with IsolatedReader(fakes.CrashingReader, "clip.mp4") as reader:
        for cause in ("crashed", "open it again"):
            with pytest.raises(DecodeError, match=cause):
                reader.read(np.array([0]))


def test_what_native_code_prints_does_not_mix_with_the_frames() -> None:
    assert read_with(fakes.TalkativeReader)[0, 0, 0, 0] == 5


def test_errors_of_the_engine_come_over_as_they_are() -> None:
    with pytest.raises(DecodeError, match=r"^clip\.mp4: is refused$"):
        read_with(fakes.RefusingReader)


def test_a_bug_is_not_taken_for_a_bad_file() -> None:
    with pytest.raises(RuntimeError, match="traceback is above"):
        read_with(fakes.FaultyReader)


def test_one_process_serves_file_after_file(videos: Path) -> None:
    with open_video(videos / "closed_gop.mp4", decoder="pyav-isolated") as reader:
        first = reader._helper
    with open_video(videos / "vp9.webm", decoder="pyav-isolated") as reader:
        assert reader._helper is first


def test_relative_paths_are_those_of_the_caller(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, path in ((videos, "vp9.webm"), (videos.parent, f"{videos.name}/vp9.webm")):
        monkeypatch.chdir(folder)
        decoded = decode_frames(path, lambda info: [3], decoder="pyav-isolated")
        assert frame_numbers(decoded.frames) == [3] and decoded.info.path == path


def test_readers_open_at_the_same_time_do_not_disturb_each_other(videos: Path) -> None:
    def numbers(choice: int) -> list[int]:
        decoded = decode_frames(videos / "one_gop.mp4", lambda info: [choice, 0], decoder="pyav-isolated")
        return frame_numbers(decoded.frames)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(numbers, range(NUM_FRAMES))) == [[number, 0] for number in range(NUM_FRAMES)]


class Shown(Dataset[int]):
    """The number that a frame of a video shows, read in a child process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return NUM_FRAMES

    def __getitem__(self, index: int) -> int:
        [number] = frame_numbers(decode_frames(self.path, lambda info: [index], decoder="pyav-isolated").frames)
        return number


def test_forked_loader_workers_start_processes_of_their_own(videos: Path) -> None:
    dataset = Shown(videos / "closed_gop.mp4")
    assert dataset[3] == 3  # a process of this one lies idle when the workers are forked
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    assert [int(number) for number in loader] == list(range(NUM_FRAMES))
    assert dataset[4] == 4


@pytest.mark.parametrize("name", ["closed_gop.mp4", "open_gop.ts", "rotated_90.mp4", "equal_times.mkv"])
def test_pyav_reads_the_same_in_a_process_of_its_own(videos: Path, name: str) -> None:
    choose = [29, 3, 17]
    ours, theirs = (decode_frames(videos / name, lambda info: choose, decoder=d) for d in ("pyav-isolated", "pyav"))
    np.testing.assert_array_equal(ours.frames, theirs.frames)
    np.testing.assert_array_equal(ours.info.pts_seconds, theirs.info.pts_seconds)
    assert (ours.decoder, ours.fallback) == ("pyav", None)
