"""Tiny videos for the tests of the data pipeline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidtok.data.synthetic import write_mp4


def grey_level(frame: int) -> int:
    """Brightness that tells a frame's number."""
    return 20 + 8 * frame


def write_counter(path: Path, *, frames: int = 24, height: int = 48, width: int = 64, fps: int = 8) -> Path:
    """Write a video whose brightness counts the frames; its left fifth is darker by 4 levels."""
    clip = np.empty((frames, height, width, 3), dtype=np.uint8)
    for frame in range(frames):
        clip[frame] = grey_level(frame)
    clip[:, :, : width // 5] -= 4
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, clip, fps=fps)
    return path


def frame_numbers(levels: Sequence[float]) -> list[int]:
    """Frame numbers from mean brightness; coding and resizing shift it by less than half a step."""
    return [round((level - 20) / 8) for level in levels]
