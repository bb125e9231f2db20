"""Frames in memory are those of the files, in any packing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.videos import frame_numbers, write_counter
from vidtok.data.cache import FrameCache, decode_all
from vidtok.errors import DecodeError


def test_a_cache_of_many_chunks_holds_what_went_in() -> None:
    rng = np.random.default_rng(0)
    videos = [torch.from_numpy(rng.integers(0, 256, (size, 4, 6, 3), dtype=np.uint8)) for size in (1, 5, 2, 9)]
    cache = FrameCache([videos[0], "x.mp4: bad", *videos[1:]], chunk_bytes=200)
    assert len(cache) == 5
    assert all(torch.equal(cache[index], video) for index, video in zip((0, 2, 3, 4), videos, strict=True))
    with pytest.raises(DecodeError, match=r"^x\.mp4: bad$"):
        cache[1]


def test_every_frame_of_every_readable_video_is_kept_and_progress_told(tmp_path: Path) -> None:
    paths = [str(write_counter(tmp_path / f"{frames}.mp4", frames=frames)) for frames in (5, 11, 3)]
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    paths.insert(1, str(tmp_path / "broken.mp4"))
    told: list[tuple[int, int]] = []
    cache = decode_all(paths, short_side=24, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 4) for done in range(1, 5)]
    assert [cache[index].shape for index in (0, 2, 3)] == [(frames, 24, 32, 3) for frames in (5, 11, 3)]
    assert frame_numbers(cache[2][:, :, 16].float().mean((1, 2)).tolist()) == list(range(11))
    assert cache.num_bytes == 19 * 24 * 32 * 3
    assert list(cache.failures) == [1] and cache.failures[1].startswith(paths[1])
    with pytest.raises(DecodeError):
        cache[1]


def test_frames_come_without_a_copy() -> None:
    cache = FrameCache([torch.zeros(2, 4, 6, 3, dtype=torch.uint8)])
    cache[0][1, 2, 3] = 7
    assert cache[0][1, 2, 3].tolist() == [7, 7, 7]
