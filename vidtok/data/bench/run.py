"""The benchmark itself: which files, which readers, in what order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from vidtok.config import ClipConfig
from vidtok.data.bench.clips import KEY_FRAME_INTERVALS, NUM_FRAMES, write_clip
from vidtok.data.bench.peers import peer_readers
from vidtok.data.bench.readers import (
    AUTO,
    Read,
    Sample,
    fallback_of,
    filled_store,
    is_installed,
    own_readers,
    sample_of,
)
from vidtok.data.bench.report import Group, Report, Row, machine
from vidtok.data.bench.stages import time_stages, time_views
from vidtok.data.bench.timing import Timing, time_in_turn
from vidtok.data.decode import PacketStore
from vidtok.data.sampling import train_indices
from vidtok.errors import DataError, DecodeError

_SAMPLES_OF_A_CLIP = 6
_SEED = 0

_OPTIONAL = ("decord", "torchcodec")

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to read of each video, and how often."""

    frames: int = 16
    stride: int = 4
    short_side: int = 224
    rounds: int = 5
    max_files: int = 20
    """Of the user's own files, at most this many are read, drawn at random."""
    generated_frames: int = NUM_FRAMES
    """Length of generated clips."""

    @property
    def clip(self) -> ClipConfig:
        return ClipConfig(frames=self.frames, stride=self.stride, size=self.short_side)


def bench_data(paths: Sequence[str], options: BenchOptions, *, note: Note = lambda text: None) -> Report:
    """Time all readers in turn on one core.

    Args:
        paths: videos; none: clips are generated, at three key-frame intervals.
        options: what to read of them.
        note: told what is going on.

    Raises:
        DataError: none of the videos can be compared.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if paths:
            return Report(machine(), options.rounds, (_bench_group("own files", *_own(paths, options), options, note),))
        with TemporaryDirectory() as folder:
            groups = [_generated(Path(folder), interval, options, note) for interval in KEY_FRAME_INTERVALS]
            return Report(machine(), options.rounds, tuple(groups))
    finally:
        torch.set_num_threads(threads)


def _generated(folder: Path, interval: int, options: BenchOptions, note: Note) -> Group:
    """Samples at random places of one generated clip."""
    name = f"key frame every {interval}"
    note(f"{name}: writing a clip")
    path = write_clip(
        folder / f"gop{interval}.mp4", interval=interval, seed=interval, num_frames=options.generated_frames
    )
    rng = np.random.default_rng(_SEED)
    samples = [_sample(str(path), options, rng) for _ in range(_SAMPLES_OF_A_CLIP)]
    return _bench_group(name, [sample for sample in samples if sample is not None], 0, options, note)


def _own(paths: Sequence[str], options: BenchOptions) -> tuple[list[Sample], int]:
    """One sample of each file, and how many files cannot be read or only from their start."""
    rng = np.random.default_rng(_SEED)
    chosen = sorted(rng.permutation(len(paths))[: options.max_files])
    samples = []
    cause = f"{paths[chosen[0]]}: can only be decoded from its start"
    for place in chosen:
        try:
            samples.append(_sample(paths[place], options, rng))
        except DecodeError as failure:
            cause = str(failure)
            samples.append(None)
    usable = [sample for sample in samples if sample is not None]
    if not usable:
        raise DataError(f"none of {len(samples)} files can be compared, see `vidtok data verify`; for example {cause}")
    return usable, len(samples) - len(usable)


def _sample(path: str, options: BenchOptions, rng: np.random.Generator) -> Sample | None:
    def choose(num_frames: int) -> np.ndarray:
        return np.unique(train_indices(num_frames, options.clip, rng))

    return sample_of(path, choose, short_side=options.short_side)


def _bench_group(name: str, samples: Sequence[Sample], left_out: int, options: BenchOptions, note: Note) -> Group:
    with TemporaryDirectory() as folder:
        return _timed_group(name, samples, left_out, options, note, filled_store(Path(folder), samples))


def _timed_group(
    name: str,
    samples: Sequence[Sample],
    left_out: int,
    options: BenchOptions,
    note: Note,
    packets: PacketStore,
) -> Group:
    own, peers = _installed(own_readers(packets), samples[0]), peer_readers()
    note(f"{name}: {len(samples)} clips, {options.rounds} rounds of {', '.join([*own, *peers])}")
    tasks = {reader: partial(_read_all, read, samples) for reader, read in (own | peers).items()}
    timings = {
        reader: Timing(tuple(value / len(samples) for value in timing.seconds))
        for reader, timing in time_in_turn(tasks, rounds=options.rounds).items()
    }
    rows = []
    for reader, timing in timings.items():
        causes = [fallback_of(reader, sample) for sample in samples] if reader in _OPTIONAL else []
        rows.append(
            Row(
                reader,
                is_peer=reader in peers,
                ms_per_clip=1000 * timing.median,
                spread=timing.spread,
                times_auto=timing.times_as_long_as(timings[AUTO]),
                fallbacks=tuple(cause for cause in causes if cause is not None),
            )
        )
    note(f"{name}: stages and test views")
    stages = time_stages(samples, clip=options.clip, read=timings[AUTO], rounds=options.rounds)
    views = time_views(samples[0].path, clip=options.clip, rounds=options.rounds)
    return Group(
        name, len(samples), left_out, tuple(rows), stages, {view: 1000 * t.median for view, t in views.items()}
    )


def _installed(readers: dict[str, Read], sample: Sample) -> dict[str, Read]:
    return {name: read for name, read in readers.items() if name not in _OPTIONAL or is_installed(name, sample)}


def _read_all(read: Read, samples: Sequence[Sample]) -> None:
    for sample in samples:
        read(sample)
