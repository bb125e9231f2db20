"""Frames are asserted by the number that each picture shows, and bit by bit against a plain loop over the file."""

import os
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.data.video_files import (
    ENCODINGS,
    HEIGHT,
    NUM_FRAMES,
    NUM_HIDDEN,
    RATE,
    VFR_TIMES,
    WIDTH,
    Encoding,
    break_packets,
    cut_start,
    frame_numbers,
    reference_frames,
    truncate,
    write,
    write_audio,
    write_cover_music,
    write_two_streams,
    x264,
)
from vidtok.data.decode import FrameListChanged, VideoInfo, decode_frames, open_video, probe
from vidtok.data.decode.index import PacketFacts, PacketIndex, nal_types, plan_reads
from vidtok.data.decode.info import frame_times
from vidtok.errors import ConfigError, DecodeError, EnvironmentFault

CHOICES = [
    *([number] for number in range(NUM_FRAMES)),
    list(range(0, NUM_FRAMES, 3)),
    list(range(NUM_FRAMES))[::-1],
    [NUM_FRAMES - 1, 0, NUM_FRAMES // 2, 0],
    [7, 8, 9, 16, 17],
]
"""Frame numbers in presentation order; 8, 16 and 24 start groups of pictures."""

REFUSED_BY_DECORD = {
    "no_b_frames.flv": "flv",
    "b_frames.flv": "flv",
    "b_frames_h264.avi": "presentation times",
    "open_gop.mp4": "refer to earlier",
    "open_gop.mkv": "refer to earlier",
    "open_gop.ts": "mpegts",
    "intra_refresh.mp4": "refer to earlier",
    "transport.ts": "mpegts",
    "programme.mpg": "mpeg",
    "elementary.h264": "presentation times",
    "hevc.mp4": "hevc",
    "mpeg4_b_frames.avi": "presentation times",
    "mpeg4_b_frames.mp4": "refer to earlier",
    "mpeg2_b_frames.mkv": "mpeg2video",
    "av1.mp4": "av1",
    "animation.gif": "gif",
    "odd_444.mp4": "yuv444p",
    "ten_bits.mp4": "yuv420p10le",
    "mirrored.mp4": "mirrored",
    "edit_list.mp4": "edit list",
    "equal_times.mkv": "share presentation times",
}


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one file per entry of ENCODINGS."""
    folder = tmp_path_factory.mktemp("videos")
    for name, encoding in ENCODINGS.items():
        write(folder / name, encoding)
    return folder


@pytest.fixture
def plain(videos: Path, tmp_path: Path) -> Path:
    """An undamaged mp4 of one's own, to be damaged."""
    return Path(shutil.copy(videos / "index_in_front.mp4", tmp_path))


def displayed(stored: np.ndarray, encoding: Encoding) -> np.ndarray:
    """A stored picture [H, W, 3] as the file asks to show it."""
    turned = np.rot90(stored, encoding.rotation // 90)
    return turned[:, ::-1] if encoding.hflip else turned


def everything(info: VideoInfo) -> np.ndarray:
    return np.arange(info.num_frames)


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] of the worst pair of pictures [T, H, W, 3]."""
    error = ((ours.astype(np.float32) - theirs) ** 2).mean(axis=(1, 2, 3)).max()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


# ------------------------------------------------------------------------------------ intact files


@pytest.mark.parametrize("name", ENCODINGS)
def test_frames_show_the_numbers_that_were_written(videos: Path, name: str) -> None:
    shown = list(ENCODINGS[name].numbers)[NUM_HIDDEN if name == "edit_list.mp4" else 0 :]
    decoded = decode_frames(videos / name, everything)
    assert frame_numbers(decoded.frames) == shown
    assert decoded.info.num_frames == probe(videos / name).num_frames == len(shown)


@pytest.mark.parametrize("name", ENCODINGS)
def test_any_choice_of_frames_equals_the_decode_of_the_whole_file(videos: Path, name: str) -> None:
    count, stored = reference_frames(videos / name)
    theirs = {number: displayed(frame, ENCODINGS[name]) for number, frame in stored.items()}
    with open_video(videos / name) as reader:
        for choice in CHOICES:
            numbers = [number % count for number in choice]
            ours = reader.read(np.array(numbers))
            np.testing.assert_array_equal(ours, np.stack([theirs[number] for number in numbers]))


@pytest.mark.parametrize("name", ENCODINGS)
def test_decord_gives_the_frames_of_pyav_or_hands_the_file_over(videos: Path, name: str) -> None:
    pytest.importorskip("decord")
    theirs = decode_frames(videos / name, everything).frames
    with open_video(videos / name, decoder="decord") as reader:
        sequential = reader.read(np.arange(len(theirs)))
        for choice in CHOICES:
            numbers = np.array(choice) % len(theirs)
            np.testing.assert_array_equal(reader.read(numbers), sequential[numbers])
        if name in REFUSED_BY_DECORD:
            assert reader.name == "pyav" and REFUSED_BY_DECORD[name] in reader.fallback
        else:
            assert reader.name == "decord" and reader.fallback is None
        assert psnr(sequential, theirs) >= 38


def test_auto_is_pyav(videos: Path) -> None:
    decoded = decode_frames(videos / "closed_gop.mp4", lambda info: [0])
    assert (decoded.decoder, decoded.fallback) == ("pyav", None)


def test_the_chosen_numbers_may_have_any_shape_and_repeat(videos: Path) -> None:
    chosen = np.array([[5, 2], [2, 29]])
    decoded = decode_frames(videos / "closed_gop.mp4", lambda info: chosen)
    assert decoded.indices.tolist() == frame_numbers(decoded.frames) == [5, 2, 2, 29]
    assert decoded.frames.shape == (4, HEIGHT, WIDTH, 3) and decoded.frames.dtype == np.uint8


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_no_numbers_give_no_frames(videos: Path, decoder: str) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    decoded = decode_frames(videos / "closed_gop.mp4", lambda info: [], decoder=decoder, short_side=40)
    assert decoded.frames.shape == (0, 40, 48, 3)


def test_numbers_outside_the_video_are_refused(videos: Path) -> None:
    with open_video(videos / "closed_gop.mp4") as reader:
        for numbers in ([NUM_FRAMES], [-1]):
            with pytest.raises(IndexError, match="closed_gop.mp4"):
                reader.read(np.array(numbers))
        with pytest.raises(ValueError, match="flatten"):
            reader.read(np.array([[0]]))


def test_only_the_first_video_stream_is_read(tmp_path: Path) -> None:
    path = write_two_streams(tmp_path / "two.mp4")
    for decoder in ("pyav", "decord") if "decord" in sys.modules else ("pyav",):
        decoded = decode_frames(path, everything, decoder=decoder)
        assert frame_numbers(decoded.frames) == list(range(NUM_FRAMES))
        assert decoded.frames.shape[1:] == (HEIGHT, WIDTH, 3)


# ------------------------------------------------------------------------------ what is known of a video


def test_times_and_rate_of_a_constant_rate_start_at_zero(videos: Path) -> None:
    for name in ("closed_gop.mp4", "late_start.mkv", "transport.ts"):
        info = probe(videos / name)
        np.testing.assert_allclose(info.pts_seconds, np.arange(NUM_FRAMES) / RATE, atol=1e-3)
        assert info.fps == pytest.approx(RATE, rel=1e-3)
        assert info.duration_seconds == pytest.approx(NUM_FRAMES / RATE, rel=1e-3)


def test_times_of_a_variable_rate_are_kept(videos: Path) -> None:
    for name in ("vfr.mp4", "vfr.mkv"):
        info = probe(videos / name)
        np.testing.assert_allclose(info.pts_seconds, np.array(VFR_TIMES) / RATE, atol=1e-3)
        assert info.fps == pytest.approx((NUM_FRAMES - 1) * RATE / VFR_TIMES[-1])


def test_one_frame_has_the_rate_of_its_container(videos: Path) -> None:
    info = probe(videos / "one_frame.mp4")
    assert (info.num_frames, info.pts_seconds.tolist(), info.fps) == (1, [0.0], RATE)


@pytest.mark.parametrize(
    ("name", "rotation", "size", "corner"),
    [
        ("closed_gop.mp4", 0, (WIDTH, HEIGHT), (0, 0)),
        ("rotated_90.mp4", 90, (HEIGHT, WIDTH), (-1, 0)),
        ("rotated_180.mp4", 180, (WIDTH, HEIGHT), (-1, -1)),
        ("rotated_270.mp4", 270, (HEIGHT, WIDTH), (0, -1)),
        ("mirrored.mp4", 0, (WIDTH, HEIGHT), (0, -1)),
    ],
)
def test_the_stored_corner_is_where_the_display_matrix_puts_it(
    videos: Path, name: str, rotation: int, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    decoded = decode_frames(videos / name, everything, short_side=40)
    assert (decoded.info.rotation, decoded.info.width, decoded.info.height) == (rotation, *size)
    red, green, _ = decoded.frames[-1][tuple(4 * side if side == 0 else -4 for side in corner)]
    assert red > 150 and green < 60


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("name", ["closed_gop.mp4", "rotated_90.mp4", "vp9_odd.webm"])
@pytest.mark.parametrize("short_side", [33, 80, 121])
def test_scaling_brings_the_short_side_to_its_size_and_keeps_the_frames(
    videos: Path, decoder: str, name: str, short_side: int
) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    decoded = decode_frames(videos / name, everything, decoder=decoder, short_side=short_side)
    info, (height, width) = decoded.info, decoded.frames.shape[1:3]
    assert decoded.decoder == decoder
    assert min(height, width) == short_side
    assert abs(max(height, width) - short_side * max(info.width, info.height) / min(info.width, info.height)) <= 0.5
    assert frame_numbers(decoded.frames) == list(range(NUM_FRAMES))


def test_times_that_are_missing_follow_the_rate_and_jumbled_ones_are_sorted() -> None:
    seconds, fps = frame_times([None, 3, None], 0.1, 50.0)
    assert seconds.tolist() == [0.0, 0.02, 0.04] and fps == 50.0
    seconds, fps = frame_times([4, 2, 6], 0.5, 50.0)
    assert seconds.tolist() == [0.0, 1.0, 2.0] and fps == 1.0
    assert frame_times([9, 9], 1.0, 30.0)[1] == 30.0


# ----------------------------------------------------------------------------------- damaged files


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


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_changed_frame_list_is_told_once_and_then_reading_goes_on(plain: Path, decoder: str) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
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


def test_a_passed_deadline_is_a_decode_error(videos: Path) -> None:
    with pytest.raises(DecodeError, match=r"closed_gop\.mp4: not decoded within the deadline of 0 s"):
        decode_frames(videos / "closed_gop.mp4", everything, deadline_seconds=0)


def test_an_unknown_decoder_is_a_config_error(videos: Path) -> None:
    with pytest.raises(ConfigError, match="auto, pyav, decord"):
        open_video(videos / "closed_gop.mp4", decoder="opencv")


def test_decord_that_is_not_installed_is_an_environment_fault(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(EnvironmentFault, match="pip install decord"):
        open_video(videos / "closed_gop.mp4", decoder="decord")


# --------------------------------------------------------------------------------- the packet index


def packets(text: str) -> list[PacketFacts]:
    """Packets in decoding order from words like ``K0 4 2h``: presentation time, K key, h hidden, ? no time."""
    facts = []
    for place, word in enumerate(text.split()):
        time = None if "?" in word else int(word.strip("Kh"))
        facts.append(PacketFacts(time, place, is_key="K" in word, is_hidden="h" in word, is_suspect=False))
    return facts


def index_of(text: str, **kwargs: object) -> PacketIndex:
    return PacketIndex(packets(text), **({"container": "mov", "codec": "h264"} | kwargs))


def test_frames_are_visible_packets_in_order_of_time() -> None:
    index = index_of("K0h 4 2 K6 10 8")
    assert index.doubt is None
    assert index.pts.tolist() == [2, 4, 6, 8, 10]
    assert index.positions.tolist() == [2, 1, 3, 5, 4]


def test_leading_pictures_start_from_the_group_before() -> None:
    index = index_of("K0 2 1 K6 4 5 8")
    assert index.pts.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert index.starts.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert index.has_leading_pictures and index.is_reordered


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("K0 ? 2", {}),
        ("K0 1 1", {}),
        ("1 2 K3", {}),
        ("K3 1 2 4", {}),
        ("K0h 1h", {}),
        ("K0 1 2", {"field_order": 2}),
        ("K0 2 1", {"container": "avi"}),
    ],
)
def test_packets_that_do_not_tell_the_frames_are_doubted(text: str, options: dict[str, object]) -> None:
    assert index_of("K0 2 1 3").doubt is None
    assert index_of(text, **options).doubt


def test_only_the_same_distinct_times_in_order_confirm_the_packets() -> None:
    index = index_of("K0 2 1")
    assert index.is_confirmed_by([0, 1, 2])
    assert not index.is_confirmed_by([0, 2, 1])
    assert not index.is_confirmed_by([0, 1])
    assert not index_of("K0 1 1").is_confirmed_by([0, 1, 1])


def test_packets_without_a_picture_of_their_own_are_suspect() -> None:
    shown, unseen = (PacketFacts.of(av.Packet(bytes([bits]) * 40), "vp8", None) for bits in (0x10, 0x00))
    assert unseen.is_suspect and not shown.is_suspect
    assert PacketFacts.of(av.Packet(b"x" * 7), "mpeg4", None).is_suspect
    assert not PacketFacts.of(av.Packet(b"x" * 7), "h264", None).is_suspect


def test_nal_types_are_found_in_both_layouts() -> None:
    slices = b"\x67sps", b"\x65idr picture"
    lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in slices)
    assert nal_types(lengths, bytes([1, 0, 0, 0, 0xFF])) == {7, 5}
    assert nal_types(b"".join(b"\0\0\0\1" + unit for unit in slices), None) == {7, 5}
    assert nal_types(b"\0\0\0\x09\x41p slice", bytes([1, 0, 0, 0, 0xFF])) == {1}


def test_plans_cover_the_wanted_frames_and_only_seek_where_that_skips_packets() -> None:
    index = index_of(" ".join(f"K{time}" if time % 10 == 0 else str(time) for time in range(60)))
    for wanted in ([0], [3, 55], [8, 9, 10, 11], [0, 9, 19, 20, 45, 59], list(range(60))):
        runs = plan_reads(index, np.array(wanted), near=3)
        assert np.concatenate(runs).tolist() == wanted
        assert all(len(run) for run in runs)
    assert [run.tolist() for run in plan_reads(index, np.array([8, 10, 12, 35, 36]), near=3)] == [[8, 10, 12], [35, 36]]
    assert plan_reads(index, np.array([], dtype=int), near=3) == []


# --------------------------------------------------------------------------------------- conduct


def test_closing_gives_the_file_back(videos: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    before = len(list(folder.iterdir()))
    for name in ("closed_gop.mp4", "elementary.h264"):
        decode_frames(videos / name, everything)
        with open_video(videos / name):
            assert len(list(folder.iterdir())) == before + 1
    assert len(list(folder.iterdir())) == before


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_memory_stays_flat_over_many_readers(tmp_path: Path, decoder: str) -> None:
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("needs /proc")
    if decoder == "decord":
        pytest.importorskip("decord")
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
