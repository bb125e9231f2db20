"""Can every video be read? Found out before training, file by file, each in a process that may hang or crash."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from vidtok.data.decode import FrameListChanged, VideoInfo, check_engine, open_video
from vidtok.data.decode.info import Deadline
from vidtok.data.decode.pyav import PyAVReader
from vidtok.data.sweep import Ledger, Limits, Outcome, Record, sweep

SCHEMA = "vidtok.verify/1"

_GLANCE_SIDE = 32
"""Short side of pictures that are only decoded to see whether that works [pixels]."""

_ENGINE_FRAMES = 16
"""How many frames another engine is tried with: it holds all of them at the size at which they are stored."""

_PYAV = ("auto", "pyav")

_HEAD_BYTES = 4096
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
"""How a Matroska file begins, and the element that holds all the rest."""


def check_video(path: str, *, decoder: str = "auto", quick: bool = False, deadline_seconds: float) -> Record:
    """Decode one video and say how that went.

    Args:
        path: the video, or a folder of its frames.
        decoder: engine that training will use; one other than PyAV reads some of the frames of ``quick`` as well.
        quick: decode only from the first, the middle and the last key frame up to the next one.
        deadline_seconds: longest time for each step.

    Returns:
        frames: how many can be decoded; with ``quick``, how many the packets promise where nothing speaks against it.
        promised: how many the packets promise.
        damaged: something in the file was refused, other frames came than promised, or the file is cut off.
        fallback: why an undamaged file is not read by index and by the engine asked for; None where it is.
        fps, width, height, codec: of the video as displayed.

    Raises:
        DecodeError: it cannot be read.
    """
    if os.path.isdir(path):
        return _check_folder(path, quick, deadline_seconds)
    with PyAVReader(path, deadline_seconds=deadline_seconds) as reader:
        numbers = key_runs(reader)
        promised = sum(not packet.is_hidden for packet in reader.index.packets)
        num_frames, is_damaged = _decode_runs(reader, numbers) if quick else _decode_all(reader, deadline_seconds)
        info, fallback = reader.info, reader.index.doubt
    is_damaged |= is_cut_off(path)
    if decoder not in _PYAV and not is_damaged:
        few = numbers[np.linspace(0, len(numbers) - 1, _ENGINE_FRAMES).astype(int)]
        fallback = _try_engine(path, decoder, few, deadline_seconds) or fallback
    return _record(info, num_frames, promised, is_damaged, None if is_damaged else fallback)


def _record(info: VideoInfo, num_frames: int, promised: int, is_damaged: bool, fallback: str | None) -> Record:
    return {
        "frames": num_frames,
        "promised": promised,
        "damaged": is_damaged,
        "fallback": fallback,
        "fps": round(info.fps, 3),
        "width": info.width,
        "height": info.height,
        "codec": info.codec,
    }


def _check_folder(path: str, quick: bool, deadline_seconds: float) -> Record:
    """Read the images of a folder of frames, with ``quick`` the first and the last. Raises DecodeError."""
    with open_video(path, deadline_seconds=deadline_seconds) as reader:
        info = reader.info
        reader.read(np.array([0, info.num_frames - 1]), short_side=_GLANCE_SIDE, verify=not quick)
    return _record(info, info.num_frames, info.num_frames, False, None)


def key_runs(reader: PyAVReader) -> np.ndarray:
    """int64 [K], rising: the frames that are decoded from the first, the middle and the last key packet.

    The first and the last frame alone where packets do not tell the frames.
    """
    ends = [0, reader.info.num_frames - 1]
    if reader.index.doubt is not None or not reader.trusts_index:
        return np.unique(ends)
    num_keys = len(reader.index.keys)
    is_in_run = np.isin(reader.index.starts, [0, num_keys // 2, num_keys - 1])
    return np.union1d(np.flatnonzero(is_in_run), ends)


def is_cut_off(path: str) -> bool:
    """True for a Matroska, WebM or AVI file that states more bytes than it has.

    A download of one that broke off between two pictures decodes without complaint, and only this tells. In other
    containers packets are missing then.
    """
    with open(path, "rb") as stream:
        stated = _stated_bytes(stream.read(_HEAD_BYTES))
    return stated is not None and stated > os.path.getsize(path)


def _stated_bytes(head: bytes) -> int | None:
    if head.startswith(b"RIFF"):
        return 8 + int.from_bytes(head[4:8], "little")
    if not head.startswith(_EBML):
        return None
    size, start = _ebml_size(head, len(_EBML))
    segment = start + (size or 0)
    if head[segment : segment + 4] != _SEGMENT:
        return None
    size, start = _ebml_size(head, segment + 4)
    return None if size is None else start + size


def _ebml_size(head: bytes, at: int) -> tuple[int | None, int]:
    """The size written at a place, whose first byte tells its length, and where it ends; None: not known."""
    length = 9 - head[at].bit_length() if at < len(head) else 9
    if length > 8:
        return None, at
    value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def frames_in_order(reader: PyAVReader, deadline_seconds: float) -> Iterator[VideoFrame]:
    """All frames as stored, decoded from the file's start; what the decoder refuses is passed over.

    Raises:
        DecodeError: the deadline passed.
    """
    source = reader.source
    source.deadline = Deadline(source.path, deadline_seconds)
    source.restart()
    for packet in source.packets():
        yield from source.decode(packet)


def _decode_all(reader: PyAVReader, deadline_seconds: float) -> tuple[int, bool]:
    """Decode everything: the number of frames, and whether the file is damaged. Raises DecodeError."""
    if reader.index.doubt is not None or not reader.trusts_index:
        return reader.info.num_frames, reader.source.is_damaged  # opening it has decoded everything
    pts = [frame.pts for frame in frames_in_order(reader, deadline_seconds)]
    return len(pts), reader.source.is_damaged or not reader.index.is_confirmed_by(pts)


def _decode_runs(reader: PyAVReader, numbers: np.ndarray) -> tuple[int, bool]:
    """Decode some frames as training does; returns what :func:`_decode_all` does. Raises DecodeError."""
    if reader.index.doubt is not None or not reader.trusts_index:
        return reader.info.num_frames, reader.source.is_damaged
    try:
        reader.read(numbers, short_side=_GLANCE_SIDE)
    except FrameListChanged:
        return reader.info.num_frames, True
    return reader.info.num_frames, not reader.trusts_index


def _try_engine(path: str, decoder: str, numbers: np.ndarray, deadline_seconds: float) -> str | None:
    """Read frames with another engine; why it hands the file to PyAV, if it does."""
    with open_video(path, decoder=decoder, deadline_seconds=deadline_seconds) as reader:
        reader.read(numbers, short_side=_GLANCE_SIDE)
        return reader.fallback


def verify_videos(
    paths: Sequence[str],
    *,
    decoder: str = "auto",
    quick: bool = False,
    workers: int = 1,
    limits: Limits | None = None,
    state: Path | None = None,
    on_video: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Check many videos, each in a process that may hang or crash; records are those of :func:`check_video`.

    Args:
        paths: the videos.
        decoder, quick: see :func:`check_video`.
        workers: processes.
        limits: time and memory of one video; None: the usual ones.
        state: file of earlier results; readable videos that have not changed since are not decoded again.
        on_video: called with each outcome as it comes.

    Returns:
        Outcomes in the order of ``paths``, each video once.

    Raises:
        EnvironmentFault: the engine is not installed or does not load.
    """
    check_engine(decoder)
    limits = limits or Limits()
    ledger = Ledger(state, f"verify {'quick' if quick else 'full'} {decoder}") if state is not None else None
    work = partial(check_video, decoder=decoder, quick=quick, deadline_seconds=limits.seconds)
    outcomes: dict[str, Outcome] = {}
    for outcome in sweep(work, paths, workers=workers, limits=limits, ledger=ledger):
        outcomes[outcome.path] = outcome
        if on_video is not None:
            on_video(outcome)
    return [outcomes[path] for path in dict.fromkeys(paths)]


def summarise(outcomes: Sequence[Outcome], missing: Sequence[str] = ()) -> dict[str, Any]:
    """Counts, and the videos that one should know of.

    Args:
        outcomes: of :func:`verify_videos`.
        missing: listed files that do not exist.

    Returns:
        videos: {listed, readable, damaged, fallback, unreadable, missing, resumed}; damaged and fallback are
            readable ones, resumed were checked by an earlier run.
        unreadable: [{path, cause}]; damaged: [{path, frames, promised}]; fallback: [{path, cause}];
        missing: [path].
    """
    read = [(outcome.path, outcome.record) for outcome in outcomes if outcome.record is not None]
    unreadable = [{"path": one.path, "cause": one.cause} for one in outcomes if one.record is None]
    damaged = [
        {"path": path, "frames": record["frames"], "promised": record["promised"]}
        for path, record in read
        if record["damaged"]
    ]
    fallback = [{"path": path, "cause": record["fallback"]} for path, record in read if record["fallback"]]
    counts = {
        "listed": len(outcomes) + len(missing),
        "readable": len(read),
        "damaged": len(damaged),
        "fallback": len(fallback),
        "unreadable": len(unreadable),
        "missing": len(missing),
        "resumed": sum(not outcome.is_new for outcome in outcomes),
    }
    return {
        "videos": counts,
        "unreadable": unreadable,
        "damaged": damaged,
        "fallback": fallback,
        "missing": list(missing),
    }


def group_causes(failures: Sequence[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """Causes that differ in numbers only, taken together: (cause, how often, first path), most frequent first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for failure in failures:
        cause = failure["cause"].removeprefix(f"{failure['path']}: ").partition(";")[0]
        groups.setdefault(re.sub(r"\d+", "#", cause), []).append((cause, failure["path"]))
    rows = [(same[0][0], len(same), same[0][1]) for same in groups.values()]
    return sorted(rows, key=lambda row: -row[1])
