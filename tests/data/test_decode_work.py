"""How much a read does: what nobody asked for is not decoded to its end, not converted, and mostly not even sent."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.video_files import NUM_FRAMES
from vidtok.data.decode import open_video
from vidtok.data.decode.convert import Converter
from vidtok.data.decode.source import VideoSource

GROUP = 8
"""Pictures from one key picture to the next in these files."""


class Work:
    """Counts what goes into the decoder and what comes out of the converter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = self.decoded = self.converted = 0
        decode, store = VideoSource.decode, Converter.store

        def counted_decode(source: VideoSource, packet: object, **options: bool) -> list:
            frames = decode(source, packet, **options)
            self.sent += packet is not None
            self.decoded += len(frames)
            return frames

        def counted_store(converter: Converter, *arguments: object) -> None:
            self.converted += 1
            store(converter, *arguments)

        monkeypatch.setattr(VideoSource, "decode", counted_decode)
        monkeypatch.setattr(Converter, "store", counted_store)


def work_of(path: Path, numbers: list[int], monkeypatch: pytest.MonkeyPatch) -> Work:
    """What reading frames costs once the file is open."""
    with open_video(path) as reader, monkeypatch.context() as patched:
        work = Work(patched)
        reader.read(np.array(numbers))
    return work


@pytest.mark.parametrize("numbers", [[0], [5], [17, 17, 17], [29, 3], list(range(NUM_FRAMES))])
def test_each_wanted_picture_is_converted_once_and_no_other(
    videos: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int]
) -> None:
    assert work_of(videos / "closed_gop.mp4", numbers, monkeypatch).converted == len(set(numbers))


def test_opening_decodes_one_picture(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    with open_video(videos / "closed_gop.mp4"):
        assert (work.sent, work.decoded, work.converted) == (1, 1, 0)


def test_decoding_starts_at_the_key_picture_before_and_stops_at_the_last_wanted_one(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(NUM_FRAMES):
        sent = work_of(videos / "no_b_frames.mp4", [number], monkeypatch).sent
        assert sent == number % GROUP + 1


def test_reordering_costs_no_packets_beyond_the_wanted_one(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(NUM_FRAMES):
        assert work_of(videos / "closed_gop.mp4", [number], monkeypatch).sent <= GROUP


def test_groups_of_pictures_without_a_wanted_one_are_jumped_over(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work_of(videos / "no_b_frames.mp4", [0, 25], monkeypatch).sent == 1 + 2


def test_pictures_that_no_other_refers_to_are_left_out(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = work_of(videos / "one_gop.mp4", list(range(NUM_FRAMES)), monkeypatch)
    sparse = work_of(videos / "one_gop.mp4", [0, NUM_FRAMES - 1], monkeypatch)
    assert whole.decoded == NUM_FRAMES
    assert sparse.decoded <= NUM_FRAMES * 2 / 3
