"""The synthetic motion set: H.264 mp4 files, lists and class names, the same for the same seed.

Layout of the folder: ``train.csv``, ``val.csv``, ``test.csv`` (lines ``videos/val/move_up_00002.mp4 2``),
``classes.txt`` (one name a line, line number = label), ``motion_set.json`` (how it was made) and ``videos/``.
What the clips show is in vidtok/data/motion.py.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np

from vidtok.data.motion import CLASS_NAMES, CLASS_PAIRS, DIFFICULTIES, MotionOptions, render_clip
from vidtok.errors import ConfigError
from vidtok.text import to_json

SPLITS: tuple[str, ...] = ("train", "val", "test")
SCHEMA = "vidtok.motion_set/1"

# One thread, so that the bytes do not depend on the machine's cores; no B frames and little else, for speed.
_ENCODER = {"preset": "ultrafast", "crf": "20", "threads": "1"}


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One clip to write; all that a worker process needs."""

    path: Path
    label: int
    seed: tuple[int, int, int]  # (seed of the set, split, clip): no two clips and no two splits share one
    size: int
    frames: int
    fps: int
    options: MotionOptions


def write_motion_set(
    out: Path,
    *,
    clips: int,
    seed: int = 0,
    size: int = 64,
    frames: int = 24,
    fps: int = 12,
    difficulty: Literal["easy", "normal", "hard"] | MotionOptions = "normal",
    processes: int | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the motion set into the folder ``out`` and return ``out``.

    A tenth of the clips is for validation and a tenth for test. Classes take turns, so their counts differ by
    one at most in each split. The pixels depend on the arguments only, not on ``processes``. A folder that
    already holds the very same set is left as it is; an unfinished one is written again.

    Args:
        out: folder to make.
        clips: number of clips over all three splits, at least 10.
        seed: seed of everything that is random, at least 0.
        size: side of the square frames [pixels], even, at least 32.
        frames: frames per clip, at least 8.
        fps: frames per second, at least 1.
        difficulty: name in DIFFICULTIES, or options of your own.
        processes: clips written at a time, at least 1; None: as many as there are cores for this process.
        on_clip: called with (clips written, all clips) after each clip, in the calling process.

    Raises:
        ConfigError: a value outside its range, or ``out`` holds another finished motion set.
    """
    _require("clips", clips, at_least=10)
    _require("seed", seed, at_least=0)
    _require("size", size, at_least=32, multiple_of=2)
    _require("frames", frames, at_least=8)
    _require("fps", fps, at_least=1)
    processes = num_cores() if processes is None else processes
    _require("processes", processes, at_least=1)
    options = _options(difficulty)
    made_by = {"schema": SCHEMA, "clips": clips, "seed": seed, "size": size, "frames": frames, "fps": fps}
    receipt = to_json(made_by | {"options": asdict(options)}, indent=2) + "\n"
    if _is_there(out, receipt):
        return out
    jobs = {
        split: _jobs(out, split, clips, seed=seed, size=size, frames=frames, fps=fps, options=options)
        for split in SPLITS
    }
    for split in SPLITS:
        (out / "videos" / split).mkdir(parents=True, exist_ok=True)
    _write_videos([job for split in SPLITS for job in jobs[split]], processes, on_clip)
    for split in SPLITS:
        lines = (f"{job.path.relative_to(out).as_posix()} {job.label}\n" for job in jobs[split])
        (out / f"{split}.csv").write_text("".join(lines), encoding="utf-8")
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES), encoding="utf-8")
    pairs = "".join(f"{first},{second}\n" for first, second in CLASS_PAIRS)
    (out / "pairs.csv").write_text(pairs, encoding="utf-8")
    (out / "motion_set.json").write_text(receipt, encoding="utf-8")
    return out


def write_mp4(path: Path, clip: np.ndarray, *, fps: int) -> None:
    """Write ``clip``, uint8 RGB [T, H, W, 3] with even sides, as H.264 in yuv420p, one packet a frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=_ENCODER)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require(name: str, value: int, *, at_least: int, multiple_of: int = 1) -> None:
    if value < at_least or value % multiple_of:
        even = "an even number, " if multiple_of == 2 else ""
        raise ConfigError(f"motion set: {name} is {value}: give {even}at least {at_least}")


def _options(difficulty: str | MotionOptions) -> MotionOptions:
    if isinstance(difficulty, MotionOptions):
        return difficulty
    if difficulty not in DIFFICULTIES:
        raise ConfigError(f"motion set: difficulty is '{difficulty}': choose one of {', '.join(DIFFICULTIES)}")
    return DIFFICULTIES[difficulty]


def _is_there(out: Path, receipt: str) -> bool:
    """Whether ``out`` holds this very set. Raises ConfigError if it holds another one."""
    path = out / "motion_set.json"
    if not path.exists():
        return False
    if path.read_text(encoding="utf-8") != receipt:
        raise ConfigError(f"{out} holds a motion set made with other values (motion_set.json): give another folder")
    return True


def _jobs(out: Path, split: str, clips: int, *, seed: int, **clip_values: object) -> list[_Job]:
    held_out = round(clips / 10)
    count = clips - 2 * held_out if split == "train" else held_out
    return [
        _Job(
            path=out / "videos" / split / f"{CLASS_NAMES[i % len(CLASS_NAMES)]}_{i:05d}.mp4",
            label=i % len(CLASS_NAMES),
            seed=(seed, SPLITS.index(split), i),
            **clip_values,
        )
        for i in range(count)
    ]


def _write_videos(jobs: list[_Job], processes: int, on_clip: Callable[[int, int], None] | None) -> None:
    with _mapper(min(processes, len(jobs))) as mapper:
        for done, _ in enumerate(mapper(_write_video, jobs), start=1):
            if on_clip is not None:
                on_clip(done, len(jobs))


@contextmanager
def _mapper(processes: int) -> Iterator[Callable[..., Iterable[None]]]:
    """``map`` over that many processes. They are spawned: forking a process that has threads can hang."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, items: pool.map(function, items, chunksize=16)


def _write_video(job: _Job) -> None:
    clip = render_clip(
        CLASS_NAMES[job.label],
        np.random.default_rng(job.seed),
        size=job.size,
        frames=job.frames,
        options=job.options,
    )
    write_mp4(job.path, clip, fps=job.fps)
