"""Tables that promise more packets than a file has: found before memory is taken for them."""

import shutil
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from tests.data.difficult_files import DIFFICULT, UNREADABLE
from tests.data.mp4_tables import rewrite_tables
from tests.data.video_files import ENCODINGS, write
from vidtok.data.decode import probe
from vidtok.data.decode.boxes import MOST_UNNAMED, check_tables
from vidtok.errors import DecodeError

_BILLION = 1_000_000_000


@pytest.fixture
def plain(videos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(videos / "closed_gop.mp4", tmp_path))


def test_a_billion_packets_of_one_size_are_not_believed(plain: Path) -> None:
    rewrite_tables(
        plain,
        {
            b"stsz": lambda _: struct.pack(">III", 0, 1, _BILLION),
            b"stsc": lambda _: struct.pack(">IIIII", 0, 1, 1, _BILLION, 1),
        },
    )
    with pytest.raises(DecodeError, match=rf"closed_gop\.mp4: its tables promise {_BILLION} packets more than they"):
        probe(plain)


def test_a_track_that_calls_itself_sound_is_not_believed_either(plain: Path) -> None:
    rewrite_tables(
        plain,
        {
            b"stsz": lambda _: struct.pack(">III", 0, 1, _BILLION),
            b"hdlr": lambda old: old[:8] + b"soun" + old[12:],
        },
    )
    with pytest.raises(DecodeError, match="promise"):
        probe(plain)


def test_a_fragment_of_packets_without_entries_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "f.mp4", ENCODINGS["fragmented.mp4"])
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, content.index(b"trun") + 4, 0, 50_000_000)
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="promise 50000000 packets"):
        probe(path)


def test_an_edit_list_that_shows_the_file_a_thousand_times_is_given_up_early(plain: Path) -> None:
    edit = struct.pack(">IiI", 1200, 0, 0x10000)
    rewrite_tables(plain, {b"elst": lambda _: struct.pack(">II", 0, 5000) + 5000 * edit})
    with pytest.raises(DecodeError, match="name the same bytes over and over"):
        probe(plain)


def test_sound_whose_every_sample_is_a_packet_is_no_lie(tmp_path: Path) -> None:
    path = tmp_path / "long.mov"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, MOST_UNNAMED + 1), np.int16), format="s16", layout="mono")
        frame.rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    check_tables(str(path))
    with pytest.raises(DecodeError, match="no video stream"):
        probe(path)


@pytest.mark.parametrize("name", sorted({*DIFFICULT} - {*UNREADABLE} - {"long.mp4"}))
def test_honest_and_damaged_files_pass(difficult: Path, name: str) -> None:
    check_tables(str(difficult / name))
