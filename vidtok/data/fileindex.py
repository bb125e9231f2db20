"""Facts of every video of a list: size, duration, rate, frames, codec, key frames and a fingerprint of its content.

An index is itself a list, with columns ``path`` and ``label``, so it can be trained on, split and compared.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from vidtok.data.decode import PacketStore, VideoInfo, default_store, probe
from vidtok.data.decode.folder import image_files
from vidtok.data.decode.pyav import PyAVReader
from vidtok.data.labels import read_text
from vidtok.data.manifest import Listing
from vidtok.data.manifest.entries import entries_of, segment_columns, written_path
from vidtok.data.sweep import Ledger, Limits, Outcome, Record, sweep
from vidtok.errors import ConfigError
from vidtok.text import to_json

SCHEMA = "vidtok.index/1"
FACTS = ("bytes", "duration_s", "fps", "frames", "width", "height", "codec", "key_frames", "fingerprint")


def describe_file(path: str, *, store: str | None = None) -> Record:
    """Facts of one video from its packets, or of a folder of frames.

    Args:
        path: the video.
        store: packet store to keep what opening found out in.

    Returns:
        bytes; duration_s, fps, frames, width, height, codec: of the video as displayed; key_frames: how many;
        fingerprint: see :func:`fingerprint`.

    Raises:
        DecodeError: it cannot be read.
    """
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in image_files(path)]
        return _facts(probe(path), files, key_frames=len(files))
    with PyAVReader(path) as reader:
        if store is not None and reader.known is not None:
            PacketStore(store).add(path, reader.known)
        return _facts(reader.info, [path], key_frames=len(reader.index.keys))


def _facts(info: VideoInfo, files: Sequence[str], *, key_frames: int) -> Record:
    return {
        "bytes": sum(map(os.path.getsize, files)),
        "duration_s": round(info.duration_seconds, 3),
        "fps": round(info.fps, 3),
        "frames": info.num_frames,
        "width": info.width,
        "height": info.height,
        "codec": info.codec,
        "key_frames": key_frames,
        "fingerprint": fingerprint(files),
    }


def fingerprint(files: Sequence[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal as ``sha256sum`` prints it; of several files: of their hashes."""
    digests = []
    for file in files:
        with open(file, "rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def default_index(source: str | Path) -> Path:
    """Where the index of a list is looked for and written: ``train.csv`` -> ``train.index.csv``."""
    return Path(source).with_suffix(".index.csv")


def index_videos(
    listing: Listing,
    out: Path,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    on_video: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Find the facts of every video of a list and write them, in parallel, each in a process that may crash.

    A file beside ``out`` remembers what was found: videos of the same size and modification time are not read again.
    Another, ``default_store`` of ``out``, keeps what training needs to open the videos faster.

    Args:
        listing: the list.
        out: ``.csv`` or ``.jsonl``, one row per row of the list with path, label, group, the part of the video where
            one is meant, ``FACTS``, which are the whole file's, and error; an unreadable or missing file has an error,
            one line, instead of facts.
        workers: processes.
        limits: time and memory of one video; None: the usual ones.
        on_video: called with each outcome as it comes.

    Returns:
        Outcomes in the order of the list, each video once.

    Raises:
        ConfigError: ``out`` has another suffix.
        DataError: an unknown class name or an index out of range.
    """
    if out.suffix not in (".csv", ".jsonl"):
        raise ConfigError(f"'{out}' is no index; name a file that ends with .csv or .jsonl")
    entries = entries_of(listing)
    ledger = Ledger(out.with_suffix(".state.jsonl"), "index")
    found: dict[str, Outcome] = {}
    files = [entry.file for entry in entries]
    store = default_store(out)
    has_store = store.is_file()
    for outcome in sweep(
        partial(describe_file, store=os.fspath(store)),
        files,
        workers=workers,
        limits=limits or Limits(),
        ledger=ledger,
        is_valid=lambda path, record: has_store,
    ):
        found[outcome.path] = outcome
        if on_video is not None:
            on_video(outcome)
    rows = [
        {"path": written_path(entry, listing.base, out.parent), "label": entry.labels, "group": entry.group}
        | place
        | dict.fromkeys(FACTS)
        | (found[entry.file].record or {})
        | {"error": found[entry.file].cause}
        for entry, place in zip(entries, segment_columns(entries), strict=True)
    ]
    _write(out, rows)
    return [found[file] for file in dict.fromkeys(files)]


def _write(out: Path, rows: Sequence[Record]) -> None:
    """Write the index under another name first, so that an interrupt leaves the old one whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        if out.suffix == ".jsonl":
            stream.writelines(to_json(row | _json_label(row["label"])) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row | {"label": ";".join(row["label"] or ())} for row in rows)
    part.replace(out)


def _json_label(labels: tuple[str, ...] | None) -> Record:
    """One label as it is, several or none as a list."""
    return {"label": labels[0] if labels is not None and len(labels) == 1 else labels}


def read_fingerprints(index: Path) -> list[str | None]:
    """The fingerprints of an index in its order; None for unreadable videos. [] when it is no index.

    Raises:
        DataError: the file cannot be read.
    """
    if not index.is_file():
        return []
    text = read_text(index)
    if index.suffix == ".jsonl":
        records = [json.loads(line) for line in text.split("\n") if line.strip()]
    else:
        records = list(csv.DictReader(text.split("\n")))
    return [record["fingerprint"] or None for record in records] if records and "fingerprint" in records[0] else []
