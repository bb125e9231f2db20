"""A copy of a data set that decodes fast: every video small, in H.264 mp4, with key frames close together."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vidtok.data.inputs import is_list, videos_in
from vidtok.data.labels import read_class_names
from vidtok.data.manifest import read_listing
from vidtok.data.manifest.entries import CLASSES_FILE, Entry, entries_of, write_class_names, write_list
from vidtok.data.manifest.files import existence_test
from vidtok.data.manifest.folders import SPLIT_FOLDERS
from vidtok.data.manifest.items import Item, segment_name
from vidtok.data.sweep import Ledger, Limits, Outcome, Record, sweep
from vidtok.data.transcode import Encoding, part_of, transcode
from vidtok.errors import ConfigError, DataError

SCHEMA = "vidtok.prepare/1"
STATE_FILE = "prepare.state.jsonl"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written where."""

    out: Path
    items: dict[str, Item]
    """The videos that exist, and parts of videos, by name, in the order of the source."""
    targets: dict[str, str]
    """The new file of each, by name."""
    missing: tuple[str, ...] = ()
    """Listed files that do not exist."""
    entries: tuple[Entry, ...] = ()
    """Rows of the list; none for a folder, whose layout is kept."""
    list_name: str | None = None
    """Of the new list in ``out``."""
    class_names: tuple[str, ...] | None = None


def plan_prepare(
    source: str, out: Path, *, root: str | None = None, classes: str | None = None, multi_label: bool = False
) -> Plan:
    """Choose a new file for every video of a list or folder; the layout of folders below ``out`` stays the same.

    Args:
        source: a list, or a folder whose videos of all depths are meant.
        out: folder of the copy.
        root, classes, multi_label: as in :func:`vidtok.data.manifest.load_manifest`.

    Raises:
        ConfigError: ``out`` is where the originals are, or holds other class names.
        DataError: a list that cannot be read, no video exists.
    """
    plan = (
        _plan_of_list(source, out, root=root, classes=classes, multi_label=multi_label)
        if is_list(source)
        else _plan_of_folder(source, out)
    )
    if not plan.targets:
        raise DataError(f"{source}: none of the {len(plan.missing)} listed videos exists; give --root FOLDER")
    originals = {os.path.realpath(item.path) for item in plan.items.values()}
    hit = next((path for path in plan.targets.values() if os.path.realpath(path) in originals), None)
    if hit is not None:
        raise ConfigError(f"'{hit}' would overwrite an original; choose another folder than '{out}'")
    _check_class_names(plan)
    return plan


def _plan_of_folder(source: str, out: Path) -> Plan:
    earlier = "" if os.path.realpath(out) == os.path.realpath(source) else os.path.join(os.path.abspath(out), "")
    paths = [path for path in videos_in(source) if not earlier or not os.path.abspath(path).startswith(earlier)]
    inside = {path: os.path.relpath(path, source) for path in paths}
    items = {path: Item(path, None) for path in paths}
    return Plan(out, items, _targets(inside, out), class_names=_names_of_folder(Path(source), inside.values()))


def _names_of_folder(source: Path, inside: Iterable[str]) -> tuple[str, ...] | None:
    """Class names of a folder of class folders: the copy's folders would be fewer if no video of one were readable."""
    if (source / CLASSES_FILE).is_file():
        return read_class_names(source / CLASSES_FILE)
    folders = {Path(path).parts[0] for path in inside if os.path.dirname(path)}
    has_classes = all(map(os.path.dirname, inside)) and not SPLIT_FOLDERS.issuperset(map(str.lower, folders))
    return tuple(sorted(folders)) if has_classes else None


def _plan_of_list(source: str, out: Path, *, root: str | None, classes: str | None, multi_label: bool) -> Plan:
    listing = read_listing(source, root=root, classes=classes, multi_label=multi_label, key="list")
    entries = entries_of(listing)
    is_there = existence_test()
    found = [entry for entry in entries if is_there(entry.file)]
    outside = [os.path.dirname(entry.path) for entry in found if os.path.isabs(entry.path)]
    common = os.path.commonpath(outside) if outside else ""
    items = {item.name: item for item in (Item(entry.file, None, entry.segment) for entry in found)}
    parts = Counter(item.path for item in items.values())
    relative = {
        _item_name(e): _part_path(os.path.relpath(e.path, common) if os.path.isabs(e.path) else e.path, e, parts)
        for e in found
    }
    return Plan(
        out,
        items,
        _targets(relative, out),
        missing=tuple(dict.fromkeys(entry.file for entry in entries if not is_there(entry.file))),
        entries=tuple(found),
        list_name=f"{Path(source).stem}.csv",
        class_names=listing.names,
    )


def _item_name(entry: Entry) -> str:
    return segment_name(entry.file, entry.segment)


def _part_path(path: str, entry: Entry, parts: Mapping[str, int]) -> str:
    """The path of a new file, ``long_4-8s.avi``, where the list means several parts of ``long.avi``."""
    if parts[entry.file] == 1 or entry.segment is None:
        return path
    stem, suffix = os.path.splitext(path)
    return f"{stem}_{str(entry.segment).replace(' ', '')}{suffix}"


def _targets(relative: Mapping[str, str], out: Path) -> dict[str, str]:
    """New files by original; ``a.avi`` becomes ``a.mp4``, or ``a.avi.mp4`` where another would be ``a.mp4`` too."""
    new = {path: os.path.splitext(inside)[0] for path, inside in relative.items()}
    times = Counter(new.values())
    return {
        path: str(out / f"{new[path] if times[new[path]] == 1 else inside}.mp4") for path, inside in relative.items()
    }


def _check_class_names(plan: Plan) -> None:
    """Raise ConfigError when another list with other names was prepared here."""
    file = plan.out / CLASSES_FILE
    if plan.class_names is not None and file.is_file() and read_class_names(file) != plan.class_names:
        raise ConfigError(f"'{file}' holds other class names than the source; choose another folder")


def prepare_videos(
    plan: Plan,
    encoding: Encoding,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    on_video: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Write the copy; a second call goes on where the first one stopped.

    A new file appears under its name when it is complete and was compared with the original, which is only read.
    The new list and the class names are written at the end.

    Args:
        plan: what and where.
        encoding: how.
        workers: processes.
        limits: time and memory of one video; None: the usual ones.
        on_video: called with each outcome as it comes.

    Returns:
        Outcomes in the order of the source, each video once; records are those of
        :func:`vidtok.data.transcode.transcode`.
    """
    limits = limits or Limits()
    task = f"prepare short_side={encoding.short_side} gop={encoding.gop} crf={encoding.crf}"
    work = partial(_prepare, items=plan.items, targets=plan.targets, encoding=encoding, deadline_seconds=limits.seconds)
    outcomes: dict[str, Outcome] = {}
    for outcome in sweep(
        work,
        list(plan.targets),
        workers=workers,
        limits=limits,
        ledger=Ledger(plan.out / STATE_FILE, task),
        is_valid=lambda path, record: _is_written(plan.targets[path], record),
        file_of=lambda name: plan.items[name].path,
    ):
        outcomes[outcome.path] = outcome
        if outcome.record is None:
            part_of(Path(plan.targets[outcome.path])).unlink(missing_ok=True)
        if on_video is not None:
            on_video(outcome)
    _write_lists(plan, {path for path, outcome in outcomes.items() if outcome.record is not None})
    return [outcomes[path] for path in plan.targets]


def _prepare(
    name: str, *, items: Mapping[str, Item], targets: Mapping[str, str], encoding: Encoding, deadline_seconds: float
) -> Record:
    item, target = items[name], Path(targets[name])
    return transcode(item.path, target, encoding=encoding, deadline_seconds=deadline_seconds, segment=item.segment)


def _is_written(target: str, record: Record) -> bool:
    return os.path.isfile(target) and os.path.getsize(target) == record["bytes"]


def _write_lists(plan: Plan, done: set[str]) -> None:
    """The list of the videos that were prepared, with their labels, and the class names."""
    plan.out.mkdir(parents=True, exist_ok=True)
    if plan.class_names is not None:
        write_class_names(plan.out, plan.class_names)
    if plan.list_name is not None:
        rows = [
            replace(entry, path=Path(os.path.relpath(new, plan.out)).as_posix(), file=new, segment=None)
            for entry in plan.entries
            if _item_name(entry) in done
            for new in (plan.targets[_item_name(entry)],)
        ]
        write_list(plan.out / plan.list_name, rows, plan.out)


def summarise(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Counts, and the videos that one should know of.

    Returns:
        videos: {listed, prepared, damaged, failed, missing, resumed}; damaged are prepared ones with the frames that
            could be decoded, resumed were prepared by an earlier run.
        bytes: {before, after} of the prepared ones.
        failed: [{path, cause}]; damaged: [path]; missing: [path].
    """
    done = [(outcome.path, outcome.record) for outcome in outcomes if outcome.record is not None]
    failed = [{"path": outcome.path, "cause": outcome.cause} for outcome in outcomes if outcome.record is None]
    damaged = [path for path, record in done if record["damaged"]]
    counts = {
        "listed": len(outcomes) + len(plan.missing),
        "prepared": len(done),
        "damaged": len(damaged),
        "failed": len(failed),
        "missing": len(plan.missing),
        "resumed": sum(not outcome.is_new for outcome in outcomes),
    }
    return {
        "videos": counts,
        "bytes": {
            "before": sum(record["source_bytes"] for _, record in done),
            "after": sum(record["bytes"] for _, record in done),
        },
        "failed": failed,
        "damaged": damaged,
        "missing": list(plan.missing),
    }
