"""Only containers that we read are opened, and nothing but the file itself."""

import shutil
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.data.mp4_tables import box, rewrite_tables
from tests.data.video_files import need_engine
from vidtok.data.decode import decode_frames, open_video, probe
from vidtok.data.decode.containers import _SOUND, _VIDEO, appearance
from vidtok.data.verify import summarise, verify_videos
from vidtok.errors import DecodeError

PLAYLISTS = {
    "concat.mp4": "ffconcat version 1.0\nfile '{}'\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile {}\n",
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "\ufeff#EXTM3U\n#EXTINF:9,\n{}\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "dash.mpd": '<?xml version="1.0"?>\n<MPD type="static"><Period><BaseURL>{}</BaseURL></Period></MPD>\n',
    "smooth.mkv": '<?xml version="1.0"?>\n<SmoothStreamingMedia><Url>{}</Url></SmoothStreamingMedia>\n',
    "winamp.avi": "[playlist]\nFile1={}\n",
}
DECODERS = ("pyav", "pyav-isolated", "decord", "torchcodec")


def write_playlist(folder: Path, name: str, target: Path) -> Path:
    path = folder / name
    path.write_text(PLAYLISTS[name].format(target), encoding="utf-8")
    return path


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_no_video_whatever_it_is_called(videos: Path, tmp_path: Path, name: str, decoder: str) -> None:
    need_engine(decoder)
    shutil.copy(videos / "closed_gop.mp4", tmp_path)
    for target in (Path("closed_gop.mp4"), tmp_path / "closed_gop.mp4"):
        path = write_playlist(tmp_path, name, target)
        with pytest.raises(DecodeError, match=r"is not a video container we read \(looks like a playlist\)"):
            open_video(path, decoder=decoder)


def test_verify_counts_a_playlist_as_unreadable(videos: Path, tmp_path: Path) -> None:
    path = write_playlist(tmp_path, "concat.mp4", videos / "closed_gop.mp4")
    found = summarise(verify_videos([str(path)]))
    assert found["videos"]["unreadable"] == 1 and "looks like a playlist" in found["unreadable"][0]["cause"]


def test_a_mov_whose_pictures_are_in_another_file_does_not_show_them(videos: Path, tmp_path: Path) -> None:
    shutil.copy(videos / "closed_gop.mp4", tmp_path / "secret.mp4")
    path = Path(shutil.copy(videos / "closed_gop.mp4", tmp_path / "points_there.mov"))
    target = str(tmp_path / "secret.mp4").encode()
    target += b"\0" * (len(target) % 2)
    volume = bytes(4 + 10 + 1 + 27 + 12 + 1 + 63 + 16) + struct.pack(">HH", 1, 1) + bytes(16)
    alias = volume + struct.pack(">HH", 2, len(target)) + target + b"\xff\xff\0\0"
    rewrite_tables(path, {b"dref": lambda _: struct.pack(">II", 0, 1) + box(b"alis", alias)})
    with pytest.raises(DecodeError):
        decode_frames(path, lambda info: [0])


def test_what_is_no_video_says_what_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("hello\n", encoding="utf-8")
    (tmp_path / "wide.mp4").write_text("#EXTM3U\n", encoding="utf-16")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100))
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.mp4", format="PNG")
    kinds = {name: appearance(str(tmp_path / f"{name}.mp4")) for name in ("notes", "wide", "noise", "photo", "absent")}
    assert kinds == {"notes": "a text file", "wide": "a playlist", "noise": None, "photo": "a picture", "absent": None}
    with pytest.raises(DecodeError, match="looks like a picture"):
        probe(tmp_path / "photo.mp4")


def test_a_text_that_breaks_off_inside_a_letter_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "long.mp4").write_bytes(b"x" * 1023 + "\u00e9".encode() + b"x")
    assert appearance(str(tmp_path / "long.mp4")) == "a text file"


def test_every_container_on_the_list_is_one_that_ffmpeg_knows() -> None:
    known = {name for names in av.formats_available for name in names.split(",")}
    assert {name for names in (*_VIDEO, *_SOUND) for name in names.split(",")} <= known


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_a_file_name_that_looks_like_a_protocol_opens_no_other_file(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    need_engine(decoder)
    monkeypatch.chdir(tmp_path)
    shutil.copy(videos / "closed_gop.mp4", "file:other.mp4")
    shutil.copy(videos / "one_gop.mp4", "other.mp4")
    ours = decode_frames("file:other.mp4", lambda info: [9], decoder=decoder)
    theirs = decode_frames(videos / "closed_gop.mp4", lambda info: [9], decoder=decoder)
    assert ours.decoder == decoder
    np.testing.assert_array_equal(ours.frames, theirs.frames)
