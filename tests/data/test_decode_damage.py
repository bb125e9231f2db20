"""Damaged files, files that are no videos, and what readers leave behind."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.data.video_files import (
    NUM_FRAMES,
    Encoding,
    break_packets,
    cut_start,
    need_engine,
    reference_frames,
    truncate,
    write,
    write_audio,
    write_cover_music,
    x264,
)
from vidtok.data.decode import FrameListChanged, VideoInfo, decode_frames, open_video, probe
from vidtok.data.decode.decord import DecordReader
from vidtok.data.decode.info import Deadline
from vidtok.data.decode.source import VideoSource
from vidtok.data.decode.torchcodec import TorchcodecReader
from vidtok.errors import ConfigError, DecodeError, EnvironmentFault


@pytest.fixture
def plain(videos: Path, tmp_path: Path) -> Path:
    """An undamaged mp4 of one's own, to be damaged."""
    return Path(shutil.copy(videos / "index_in_front.mp4", tmp_path))


def everything(info: VideoInfo) -> np.ndarray:
    return np.arange(info.num_frames)


def test_a_refused_packet_is_passed_over_and_frames_are_chosen_again(plain: Path) -> None:
    break_packets(plain, [10])
    count, theirs = reference_frames(plain)
    assert count < NUM_FRAMES
    asked: list[int] = []

    def last(info: VideoInfo) -> np.ndarray:
        asked.append(info.num_frames)
        return np.array([info.num_frames - 1, 12])

    decoded = decode_frames(plain, last, verify=True)
    assert asked == [NUM_FRAMES, count]
    assert decoded.info.num_frames == len(decoded.info.pts_seconds) == count
    np.testing.assert_array_equal(decoded.frames, np.stack([theirs[count - 1], theirs[12]]))


def test_damage_met_while_reading_is_noticed_without_verifying(plain: Path) -> None:
    break_packets(plain, [10])
    count, theirs = reference_frames(plain)
    decoded = decode_frames(plain, everything)
    assert decoded.info.num_frames == count
    np.testing.assert_array_equal(decoded.frames, np.stack(list(theirs.values())))


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
def test_a_changed_frame_list_is_told_once_and_then_reading_goes_on(plain: Path, decoder: str) -> None:
    need_engine(decoder)
    break_packets(plain, [10])
    count, theirs = reference_frames(plain)
    with open_video(plain, decoder=decoder) as reader:
        with pytest.raises(FrameListChanged, match=f"^{plain}: {count} frames"):
            reader.read(np.array([0]), verify=True)
        assert reader.info.num_frames == count
        assert reader.name == "pyav"
        np.testing.assert_array_equal(reader.read(np.array([count - 1]), verify=True)[0], theirs[count - 1])


@pytest.mark.parametrize("name", ["index_in_front.mp4", "closed_gop.mkv", "open_gop.ts", "mpeg4.avi", "vp9.webm"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_truncated_file_has_the_frames_that_can_be_decoded(
    videos: Path, tmp_path: Path, name: str, share: float
) -> None:
    path = Path(shutil.copy(videos / name, tmp_path))
    truncate(path, share)
    count, theirs = reference_frames(path)
    decoded = decode_frames(path, everything, verify=True)
    assert decoded.info.num_frames == count < NUM_FRAMES
    np.testing.assert_array_equal(decoded.frames, np.stack(list(theirs.values())))


def test_a_seek_that_leads_past_its_goal_gives_no_packets(videos: Path) -> None:
    path = str(videos / "transport.ts")
    source = VideoSource(path, Deadline(path, 60))
    keys = [packet for packet in source.packets() if packet is not None and packet.is_keyframe]
    assert next(source.packets_from_key(keys[2].pts, keys[2].dts)).pts == keys[2].pts
    # Asked for the presentation time, FFmpeg goes to the packet that is decoded then: a later one.
    assert list(source.packets_from_key(keys[2].pts, None)) == []
    source.close()


@pytest.mark.parametrize("place", [3, 8, 12])
def test_a_stream_that_starts_anywhere_has_the_frames_that_can_be_decoded(
    videos: Path, tmp_path: Path, place: int
) -> None:
    path = Path(shutil.copy(videos / "open_gop.ts", tmp_path))
    cut_start(path, place)
    count, theirs = reference_frames(path)
    decoded = decode_frames(path, everything)
    assert decoded.info.num_frames == count
    np.testing.assert_array_equal(decoded.frames, np.stack(list(theirs.values())))


@pytest.mark.parametrize("name", ["closed_gop.mp4", "one_gop.mp4", "open_gop.mkv", "transport.ts", "mpeg4.avi"])
def test_overwritten_bytes_give_the_frames_of_a_plain_loop_or_a_decode_error(
    videos: Path, tmp_path: Path, name: str
) -> None:
    path, rng = tmp_path / name, np.random.default_rng(1)
    for _ in range(6):
        content = bytearray((videos / name).read_bytes())
        for place in rng.integers(len(content) // 10, len(content), 5):
            content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            count, theirs = reference_frames(path)
        except av.FFmpegError:
            with pytest.raises(DecodeError):
                probe(path)
            continue
        decoded = decode_frames(path, everything, verify=True)
        assert decoded.info.num_frames == count
        np.testing.assert_array_equal(decoded.frames, np.stack(list(theirs.values())))


# ------------------------------------------------------------------------------------------ errors


def test_what_cannot_be_read_says_path_and_cause(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "notes.txt").write_text("not a video\n" * 100)
    write_audio(tmp_path / "sound.wav")
    write_cover_music(tmp_path / "music.mp3")
    truncate(Path(shutil.copy(videos / "closed_gop.mp4", tmp_path / "no_tables.mp4")), 0.5)
    causes = {
        "missing.mp4": "no such file",
        ".": "is a folder",
        "empty.mp4": "0 bytes",
        "garbage.mp4": "is not a video",
        "notes.txt": "text file",
        "sound.wav": "no video stream (streams: audio)",
        "music.mp3": "no video stream",
        "no_tables.mp4": "cut off",
    }
    for name, cause in causes.items():
        with pytest.raises(DecodeError) as caught:
            probe(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: ") and cause in message and "\n" not in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(DecodeError, match="not a regular file"):
        probe(tmp_path / "pipe.mp4")


def test_a_file_name_may_look_like_a_protocol_or_a_pattern(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data:clip.mp4", "clip%03d.mp4", "-i.mp4"):
        shutil.copy(videos / "one_frame.mp4", name)
        assert probe(name).num_frames == 1


def test_a_title_that_is_not_utf_8_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "titled.mp4", Encoding(options=x264(), title="TITLE"))
    content = path.read_bytes()
    assert content.count(b"TITLE") == 1
    path.write_bytes(content.replace(b"TITLE", b"caf\xe9!"))
    assert probe(path).num_frames == NUM_FRAMES


def test_a_passed_deadline_is_a_decode_error(videos: Path) -> None:
    with pytest.raises(DecodeError, match=r"closed_gop\.mp4: not decoded within the deadline of 0 s"):
        decode_frames(videos / "closed_gop.mp4", everything, deadline_seconds=0)


def test_an_unknown_decoder_is_a_config_error(videos: Path) -> None:
    with pytest.raises(ConfigError, match="auto, pyav, .*decord"):
        open_video(videos / "closed_gop.mp4", decoder="opencv")


def test_decord_that_is_not_installed_is_an_environment_fault(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(EnvironmentFault, match="pip install decord"):
        DecordReader(videos / "closed_gop.mp4")


@pytest.mark.parametrize("cause", [ImportError, OSError, RuntimeError])
def test_torchcodec_that_does_not_load_is_one_line_of_environment_fault(
    videos: Path, monkeypatch: pytest.MonkeyPatch, cause: type[Exception]
) -> None:
    def fail(name: str) -> None:
        raise cause("libavutil.so.59 is absent\nmore lines")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(EnvironmentFault, match="libavutil") as caught:
        TorchcodecReader(videos / "closed_gop.mp4")
    assert "\n" not in str(caught.value) and "FFmpeg" in str(caught.value)


# --------------------------------------------------------------------------------------- conduct


def test_closing_gives_the_file_back(videos: Path, tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc")

    def times_open(path: Path) -> int:
        return sum(os.path.realpath(link) == str(path.resolve()) for link in descriptors.iterdir())

    for name in ("closed_gop.mp4", "elementary.h264"):
        decode_frames(videos / name, everything)
        assert times_open(videos / name) == 0
        with open_video(videos / name) as reader:
            assert times_open(videos / name) == 1
        reader.close()
        assert times_open(videos / name) == 0
    truncated = Path(shutil.copy(videos / "closed_gop.mp4", tmp_path))
    truncate(truncated, 0.5)
    with pytest.raises(DecodeError):
        probe(truncated)
    assert times_open(truncated) == 0


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
def test_memory_stays_flat_over_many_readers(tmp_path: Path, decoder: str) -> None:
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("needs /proc")
    need_engine(decoder)
    whole = write(tmp_path / "whole.mp4", Encoding(options=x264(), size=(640, 480), rotation=90))
    broken = Path(shutil.copy(whole, tmp_path / "broken.mp4"))
    break_packets(broken, [10])
    pages = []
    for round_ in range(120):
        for path in (whole, broken):
            decode_frames(path, lambda info: [0, info.num_frames - 1], decoder=decoder)
        if round_ in (20, 119):
            pages.append(int(statm.read_text().split()[1]))
    grown_mib = (pages[1] - pages[0]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    # 200 kept pictures of 640 x 480 would be 88 MiB.
    assert grown_mib < 20
