"""Run folders: a new one for each run, the one and the file that ``--resume`` means, and what may change meanwhile."""

import calendar
import itertools
import json
import re
import sys
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vidtok.config import Recipe
from vidtok.configio import differences, parse_yaml, validate
from vidtok.errors import ConfigError, WeightsError
from vidtok.outputs import writing
from vidtok.text import counted

CONFIG_FILE, RECEIPT_FILE = "config.yaml", "receipt.json"
RESUMABLE = ("last.ckpt", "last-1.ckpt", "best.ckpt")
"""Files that a run can go on from, newest first."""
TIME_FORMAT = "%Y%m%d-%H%M%S"
_NAME = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
_MANY = 1000


def say(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------- new folders


def runs_of(recipe: Recipe) -> Path:
    """The folder that holds all runs of a recipe."""
    return Path(recipe.run.output_dir) / recipe.name


def folder_names(started: float) -> Iterable[str]:
    """``20260131-120000``, ``20260131-120000-2``, ...: local time, with a number for runs of the same second."""
    base = time.strftime(TIME_FORMAT, time.localtime(started))
    return itertools.chain([base], (f"{base}-{number}" for number in range(2, _MANY)))


def make_run_folder(recipe: Recipe, *, dry_run: bool = False) -> Path:
    """Make a folder that no other run has or gets; a dry run only learns its name. Raises EnvironmentFault."""
    runs = runs_of(recipe)
    names = (runs / name for name in folder_names(time.time()))
    if dry_run:
        return next(folder for folder in names if not folder.exists())
    with writing(runs):
        runs.mkdir(parents=True, exist_ok=True)
        return next(folder for folder in names if _is_made(folder))


def _is_made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


# ------------------------------------------------------------------------------- which run goes on


def find_checkpoint(recipe: Recipe, resume: str) -> Path | None:
    """The intact checkpoint that ``--resume`` means; None: ``auto`` finds nothing to go on with and starts anew.

    ``auto`` is the newest run of the recipe, by its start. One that was killed before its first checkpoint is started
    again in a new folder; an older run is never gone on with.

    Raises:
        WeightsError: a path without a checkpoint, or files of which none is intact.
    """
    if resume != "auto":
        return _given(Path(resume))
    run = newest(runs_of(recipe))
    if run is None:
        say(f"--resume auto: no run under {runs_of(recipe)} yet, starting the first one")
        return None
    if not any((run / name).is_file() for name in RESUMABLE):
        say(f"--resume auto: the newest run {run} has no checkpoint yet, starting it again in a new folder")
        return None
    return first_intact(run)


def _given(path: Path) -> Path:
    """The checkpoint of a path that the user gave: a run folder, or one file and no other. Raises WeightsError."""
    if path.is_dir():
        return first_intact(path)
    if not path.is_file():
        raise WeightsError(f"--resume: '{path}' not found; give a run folder or its {RESUMABLE[0]}")
    cause = damage(path)
    if cause is None:
        return path
    others = [path.parent / name for name in RESUMABLE if name != path.name]
    intact = [str(other) for other in others if other.is_file() and damage(other) is None]
    way_on = f"intact beside it: {', '.join(intact)}" if intact else "no other checkpoint beside it is intact"
    raise WeightsError(f"--resume: {path}: {cause}; {way_on}")


def first_intact(run: Path) -> Path:
    """The newest checkpoint of a run that is whole; says which newer ones are not. Raises WeightsError."""
    tried = []
    for path in (run / name for name in RESUMABLE):
        cause = damage(path) if path.is_file() else None
        if cause is None and path.is_file():
            if tried:
                say(f"warning: {'; '.join(tried)}; going on from {path.name}")
            return path
        if cause is not None:
            tried.append(f"{path}: {cause}")
    if not tried:
        raise WeightsError(f"--resume: '{run}' holds none of {', '.join(RESUMABLE)}; give a run folder with one")
    raise WeightsError(f"--resume: no checkpoint of '{run}' is intact: {'; '.join(tried)}; start without --resume")


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, by the checksums of all that it holds; None when it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        return f"truncated or damaged ({error})"
    return None if bad is None else f"damaged (wrong checksum of {bad})"


def newest(runs: Path) -> Path | None:
    """The run that was started last; None when there is none."""
    found = [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    return max(found, key=started, default=None)


def started(run: Path) -> tuple[int, int, str]:
    """When a run was started [s since 1970] and its number within that second, then its name.

    As the receipt says, which a copy keeps; else as the folder's name says; else as old as the folder's own files.
    """
    match = _NAME.fullmatch(run.name)
    number = int(match[2] or 1) if match else 1
    noted = (read_receipt(run) or {}).get("started_utc")
    try:
        seconds = calendar.timegm(datetime.fromisoformat(noted).utctimetuple()) if noted else None
        if seconds is None and match:
            seconds = int(time.mktime(time.strptime(match[1], TIME_FORMAT)))
    except (ValueError, TypeError, OverflowError):
        seconds = None
    if seconds is None:
        seconds = int(min((path.stat().st_mtime for path in run.iterdir()), default=run.stat().st_mtime))
    return seconds, number, run.name


def now_utc() -> str:
    """The present time as receipts write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_receipt(run: Path) -> dict[str, Any] | None:
    """What the run was begun with; None when it has no readable receipt."""
    try:
        found = json.loads((run / RECEIPT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def finished_steps(checkpoint: Mapping[str, Any], total_steps: int) -> int | None:
    """The steps of a checkpoint's content when nothing is left to do, neither steps nor validation; else None."""
    steps = int(checkpoint["global_step"])
    return steps if steps >= total_steps and checkpoint["vidtok"].get("validation") != "pending" else None


# ------------------------------------------------------------------------------- what may change meanwhile

_REFUSED_SECTIONS = ("model", "clip", "train")
_REFUSED_KEYS = ("run.seed", "data.multi_label")
_FREE = {
    "model.pretrained",
    "train.batch_size",  # counted over all devices below
    "train.effective_batch",
    "train.epochs",
    "train.max_steps",
    "train.val_every",
    "train.checkpoint_every",
    "train.checkpoint_minutes",
    "train.log_every",
    "train.grad_checkpointing",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is not what the run was begun with."""

    key: str
    before: Any
    now: Any
    is_refused: bool
    """Whether the run cannot go on as it would have."""

    def __str__(self) -> str:
        return f"{self.key} is {self.now} now; the run was begun with {self.before}"


def config_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """What differs between two dumped recipes, refused changes first.

    Model, clip, steps and optimiser, seed: refused. Batches count over all devices: more devices with as many clips
    less on each are the same training, but a half-done epoch of other batches could not be gone on with.
    Length, devices, paths, augmentation and what is logged or tested: allowed.
    """
    found = [Change(*row, is_refused=_is_refused(row[0])) for row in differences(dict(before), dict(now))]
    for name, count in (
        ("the clips of a step on all devices (train.effective_batch)", effective_batch),
        ("the clips of a batch on all devices (train.batch_size x run.devices x run.nodes)", global_batch),
    ):
        if count(before) != count(now):
            found.append(Change(name, count(before), count(now), is_refused=True))
    return sorted(found, key=lambda change: not change.is_refused)


def _is_refused(key: str) -> bool:
    return (key.partition(".")[0] in _REFUSED_SECTIONS and key not in _FREE) or key in _REFUSED_KEYS


def effective_batch(tree: Mapping[str, Any]) -> int:
    """Clips per optimiser step of a dumped recipe."""
    return int(tree["train"]["effective_batch"] or global_batch(tree))


def global_batch(tree: Mapping[str, Any]) -> int:
    """Clips that all devices of a dumped recipe take at the same time."""
    run = tree["run"]
    return int(tree["train"]["batch_size"] * run["devices"] * run["nodes"])


def list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Which lists hold other videos, labels or another order than those of the receipt ``before``.

    Args:
        before: a receipt; lists that it does not know are not compared.
        now: fingerprints by name: ``data`` and ``val``, None where there is no list.
    """
    names = {"data": "data.train", "val": "data.val"}
    return [
        Change(f"the content of {names[name]}", _describe(before[name]), _describe(now[name]), is_refused=True)
        for name in names
        if name in before and (before[name] or {}).get("sha256") != (now[name] or {}).get("sha256")
    ]


def _describe(data: Mapping[str, Any] | None) -> str:
    return "no list" if data is None else f"{counted(data['found'], 'video')} ({data['sha256'][:8]})"


def read_config(run: Path) -> dict[str, Any] | None:
    """The recipe that a run was begun with, dumped with all its keys; None when it has none that this vidtok reads."""
    try:
        text = (run / CONFIG_FILE).read_text(encoding="utf-8")
        return validate(parse_yaml(text, str(run / CONFIG_FILE))).model_dump(mode="json")
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


def judge(changes: Sequence[Change], *, anyway: bool) -> None:
    """Say what changed. Raises ConfigError at the first change that is refused, unless ``anyway``."""
    if changes and changes[0].is_refused and not anyway:
        raise ConfigError(
            f"--resume: {changes[0]}; restore it, give --resume-anyway to go on all the same, or start anew with the "
            "checkpoint as model.pretrained"
        )
    for change in changes:
        say(f"warning: {change}")
