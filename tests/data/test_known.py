import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.data.video_files import ENCODINGS
from vidtok.config import AugmentConfig, ClipConfig
from vidtok.data.dataset import TrainDataset
from vidtok.data.decode import PacketStore, decode_frames, default_store, open_video
from vidtok.data.decode.pyav import PyAVReader
from vidtok.data.fileindex import index_videos
from vidtok.data.manifest import Item, read_listing
from vidtok.data.swaps import LabelSwaps
from vidtok.errors import DataError


@pytest.fixture(scope="module")
def filled(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PacketStore, list[str]]:
    """A store of every generated file whose packets tell its frames, and their paths."""
    store = PacketStore(tmp_path_factory.mktemp("store") / "packets.sqlite")
    paths = []
    for name in ENCODINGS:
        with PyAVReader(videos / name) as reader:
            if reader.known is not None:
                store.add(str(videos / name), reader.known)
                paths.append(str(videos / name))
    assert len(paths) > 10
    return store, paths


def test_a_known_file_reads_as_an_unknown_one(filled: tuple[PacketStore, list[str]]) -> None:
    store, paths = filled
    for path in paths:
        with open_video(path) as plain, open_video(path, packets=store) as known:
            assert known.index.packets == plain.index.packets, path
            assert (known.orientation, known.index.codec) == (plain.orientation, plain.index.codec)
            for name in ("num_frames", "fps", "width", "height", "rotation", "codec", "matrix", "is_full_range"):
                assert getattr(known.info, name) == getattr(plain.info, name), (path, name)
            assert np.array_equal(known.info.pts_seconds, plain.info.pts_seconds)
            wanted = np.array([0, plain.info.num_frames // 2, plain.info.num_frames - 1])
            assert np.array_equal(known.read(wanted, short_side=32), plain.read(wanted, short_side=32)), path


def test_a_known_file_is_opened_without_listing_its_packets(
    filled: tuple[PacketStore, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, paths = filled
    monkeypatch.setattr(PyAVReader, "_scan", None)
    with open_video(paths[0], packets=store) as reader:
        assert reader.info.num_frames > 0


def test_a_changed_or_unknown_file_is_not_known(filled: tuple[PacketStore, list[str]], tmp_path: Path) -> None:
    store, paths = filled
    copy = tmp_path / "copy.mp4"
    shutil.copy(paths[0], copy)
    assert store.find(str(copy)) is None
    with PyAVReader(copy) as reader:
        store.add(str(copy), reader.known)
    assert store.find(str(copy)) is not None
    os.utime(copy, ns=(1, 1))
    assert store.find(str(copy)) is None
    assert PacketStore(tmp_path / "absent.sqlite").find(paths[0]) is None


def test_a_file_that_lies_about_being_unchanged_still_gives_its_own_frames(
    filled: tuple[PacketStore, list[str]], videos: Path, tmp_path: Path
) -> None:
    store, path = filled[0], tmp_path / "one.mp4"
    shutil.copy(videos / "closed_gop.mp4", path)
    with PyAVReader(videos / "closed_gop.mp4") as reader:
        known = reader.known
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(content)
    store.add(str(path), known)
    plain = decode_frames(path, lambda info: np.arange(info.num_frames))
    trusting = decode_frames(path, lambda info: np.arange(info.num_frames), packets=store)
    assert np.array_equal(trusting.frames, plain.frames)


def test_several_writers_and_a_pickled_store_share_one_file(
    filled: tuple[PacketStore, list[str]], tmp_path: Path
) -> None:
    store, paths = filled
    found = {path: store.find(path) for path in paths}
    file = tmp_path / "deep" / "packets.sqlite"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: PacketStore(file).add(path, found[path]), paths))
    copy = pickle.loads(pickle.dumps(PacketStore(file)))
    assert all(copy.find(path).index.packets == found[path].index.packets for path in paths)


def test_a_file_that_is_no_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.packets.sqlite").write_text("no database, but long enough to be taken for one " * 50)
    with pytest.raises(DataError, match="is no packet store"):
        PacketStore(default_store(tmp_path / "train.csv")).find("a.mp4")


def test_the_index_of_a_list_fills_the_store_that_training_reads(videos: Path, tmp_path: Path) -> None:
    names = ["closed_gop.mp4", "vp9.webm"]
    (tmp_path / "train.csv").write_text("".join(f"{videos / name} {number}\n" for number, name in enumerate(names)))
    listing = read_listing(tmp_path / "train.csv", key="LIST")
    index_videos(listing, tmp_path / "train.index.csv")
    store = PacketStore(default_store(tmp_path / "train.csv"))
    assert default_store(tmp_path / "train.index.csv") == default_store(tmp_path / "train.csv")
    assert all(store.find(str(videos / name)) is not None for name in names)
    options = {
        "clip": ClipConfig(frames=4, stride=2, size=32),
        "augment": AugmentConfig(),
        "swaps": LabelSwaps({}, {}, {}),
        "seed": 0,
    }
    items = [Item(str(videos / name), number) for number, name in enumerate(names)]
    plain, known = TrainDataset(items, **options), TrainDataset(items, **options, packets=store)
    for number in range(2):
        assert (plain[3, number]["clip"] == known[3, number]["clip"]).all()
    store_file = default_store(tmp_path / "train.csv")
    store_file.unlink()
    index_videos(listing, tmp_path / "train.index.csv")
    assert store_file.is_file()
