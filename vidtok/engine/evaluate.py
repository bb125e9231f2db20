"""Multi-view test of a checkpoint: every video is decoded once for all views and all budgets.

Shapes: K budgets, N videos that were found, V views, C classes.
"""

import csv
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidtok.config import Budget, ClipConfig
from vidtok.data.dataset import ViewDataset
from vidtok.data.decode import DEFAULT_LIMITS, DecodeLimits
from vidtok.data.manifest import Manifest
from vidtok.data.quarantine import Quarantine
from vidtok.engine.metrics import Pair
from vidtok.engine.predict import (
    MAX_CLIPS,
    NOT_FINITE,
    Average,
    Compute,
    at_budget,
    class_labels,
    predict_views,
)
from vidtok.engine.receipt import receipt
from vidtok.errors import ConfigError, DataError, did_you_mean
from vidtok.models.backbones import VideoModel
from vidtok.models.profile import count_gmacs

PAIRS_FILE = "pairs.csv"
QUARANTINE_FILE = "quarantine.csv"

Sample = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a video is looked at and how its views are combined. Raises ConfigError."""

    clips: int = 4
    crops: int = 3
    average: Average = "logits"
    batch_size: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.clips <= MAX_CLIPS:
            raise ConfigError(f"eval.clips is {self.clips}; it must be 1 to {MAX_CLIPS}")

    def __str__(self) -> str:
        return f"{self.clips}x{self.crops}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured. Scores of videos that failed are NaN."""

    manifest: Manifest
    clip: ClipConfig
    class_names: tuple[str, ...]
    protocol: Protocol
    budgets: tuple[Budget | None, ...]
    scores: np.ndarray
    """float32 [K, N, C] class probabilities after averaging views."""
    labels: np.ndarray
    """int64 [N], -1 where the class is not known; of a multi-label model 0 and 1 [N, C], or a row of -1."""
    errors: tuple[str, ...]
    """[N] why a video has no scores: unreadable, or they are not finite; empty where it has."""
    spans: np.ndarray
    """float64 [N, 2]: start and end of the part of each video that was looked at [seconds]; NaN where unreadable."""
    decoders: dict[str, int]
    costs: tuple[dict[str, Any], ...] = ()
    """[K] gmacs_per_view and tokens_per_layer."""
    pairs: tuple[Pair, ...] = ()
    headline: int = 0
    """Index of the budget that the checkpoint's own top-1 is reported at."""
    receipt: dict[str, Any] = field(default_factory=dict)

    @property
    def is_multi_label(self) -> bool:
        """True when videos have any number of labels."""
        return self.labels.ndim == 2

    @property
    def scored(self) -> np.ndarray:
        """bool [N]: videos that have scores and a label."""
        has_label = (self.labels >= 0).reshape(len(self.labels), -1).all(1)
        return np.array([not error for error in self.errors], dtype=bool) & has_label

    def scored_at(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores [M, C] at budget ``k`` and labels [M] or [M, C] of the M scored videos."""
        return self.scores[k, self.scored], self.labels[self.scored]

    @property
    def num_failed(self) -> int:
        return sum(bool(error) for error in self.errors)


def evaluate(
    model: VideoModel,
    manifest: Manifest,
    *,
    compute: Compute,
    protocol: Protocol,
    budgets: Sequence[Budget] = (),
    decoder: str = "auto",
    limits: DecodeLimits = DEFAULT_LIMITS,
    workers: int = 2,
    pairs: Sequence[tuple[str, str]] = (),
    shuffle_seed: int | None = None,
    seed: int | None = None,
    checkpoint: str | None = None,
    on_video: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score every video of a list at every budget.

    Args:
        model: in eval mode, on ``compute.device``.
        manifest: videos, whose labels are in the model's numbering (``load_manifest(class_names=...)``); any number
            of labels each if the model is a multi-label one.
        limits: what a video may cost.
        budgets: token budgets; none given: the model's own.
        workers: videos that are decoded ahead, by as many threads.
        pairs: pairs of mirrored class names, for accuracy within pairs.
        shuffle_seed: shuffle the frames of every clip: the control for frame order.
        seed, checkpoint: the run's seed and where the weights come from, for the receipt.
        on_video: called with (videos done, all videos).

    Raises:
        ConfigError: a budget that the model does not take.
        DataError: class names disagree; no video could be scored.
    """
    names = match_classes(model, manifest)
    paired = _pair_indices(pairs, names)
    settings = tuple(budgets) or (model.budget,)
    costs = tuple(_cost(model, budget) for budget in settings)
    dataset = ViewDataset(
        manifest.items,
        clip=model.preprocessing,
        num_clips=protocol.clips,
        num_crops=protocol.crops,
        decoder=decoder,
        shuffle_seed=shuffle_seed,
        multi_hot=model.num_classes if model.multi_label else None,
        limits=limits,
    )
    scores, samples = _score(model, dataset, settings, compute, protocol, workers=workers, on_video=on_video)
    decoders = Counter(sample["decoder"] for sample in samples if sample["valid"])
    result = Evaluation(
        manifest=manifest,
        clip=model.preprocessing,
        class_names=names,
        protocol=protocol,
        budgets=settings,
        scores=scores,
        labels=np.array([np.asarray(sample["label"]) for sample in samples], dtype=np.int64),
        errors=tuple(sample["error"] for sample in samples),
        spans=np.array([sample["span"].tolist() for sample in samples]).reshape(-1, 2),
        decoders=dict(decoders),
        costs=costs,
        pairs=paired,
        headline=settings.index(model.budget) if model.budget in settings else 0,
        receipt=receipt(compute=compute, seed=seed, decoders=decoders, data=manifest, checkpoint=checkpoint),
    )
    if not result.scored.any():
        raise DataError(_nothing_scored(result))
    return result


def _score(
    model: VideoModel,
    dataset: ViewDataset,
    budgets: Sequence[Budget | None],
    compute: Compute,
    protocol: Protocol,
    *,
    workers: int,
    on_video: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, list[Sample]]:
    """Scores [K, N, C] and what is known of each video; the views themselves are let go one by one."""
    scores = np.full((len(budgets), len(dataset), model.num_classes), np.nan, dtype=np.float32)
    averaging = {"average": protocol.average, "batch_size": protocol.batch_size}
    samples: list[Sample] = []
    for sample in _in_order(dataset, workers):
        views = sample.pop("views")
        for k, budget in enumerate(budgets if sample["valid"] else ()):
            with at_budget(model, budget):
                scores[k, sample["index"]] = predict_views(model, views, compute=compute, **averaging)
        if sample["valid"] and not np.isfinite(scores[:, sample["index"]]).all():  # at one budget: a failure at all
            scores[:, sample["index"]] = np.nan
            sample |= {"valid": False, "error": f"{sample['path']}: {NOT_FINITE}"}
        samples.append(sample)
        if on_video is not None:
            on_video(len(samples), len(dataset))
    return scores, samples


def _cost(model: VideoModel, budget: Budget | None) -> dict[str, Any]:
    """Multiply-adds and tokens at a budget. Raises ConfigError when the model does not take it."""
    with at_budget(model, budget):
        return {"gmacs_per_view": round(count_gmacs(model), 6), "tokens_per_layer": model.token_counts}


def quarantine_failures(result: Evaluation, folder: str | Path, *, max_failures: float) -> Quarantine:
    """Write the videos that failed, with causes, to ``quarantine.csv`` in a folder.

    Call ``check`` of what is returned once the results are written: it raises DataError when there are too many.

    Args:
        result: of :func:`evaluate`.
        folder: where the results are.
        max_failures: share of the videos that may be unreadable.
    """
    file = Path(folder) / QUARANTINE_FILE
    quarantine = Quarantine(file, num_videos=len(result.errors), max_failures=max_failures, fresh=True)
    for item, error in zip(result.manifest.items, result.errors, strict=True):
        if error:
            quarantine.note(item.name, error, "test")
    return quarantine


def _nothing_scored(result: Evaluation) -> str:
    source, listed = result.manifest.source, result.manifest.num_listed
    first = next((error for error in result.errors if error), "no video has a label")
    return f"{source}: none of {listed} videos could be scored; the first: {first}"


def _in_order(dataset: ViewDataset, workers: int) -> Iterator[Sample]:
    """Samples in the order of the list, decoded ahead by threads.

    Threads, because decoding releases the interpreter and clips then need no shared memory, of which
    containers have little. At most ``workers + 1`` videos are held.
    """
    if workers == 0:
        yield from (dataset[index] for index in range(len(dataset)))
        return
    pending: deque[Future[Sample]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for index in range(len(dataset)):
            pending.append(pool.submit(dataset.__getitem__, index))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# ------------------------------------------------------------------------------- class names


def match_classes(model: VideoModel, manifest: Manifest) -> tuple[str, ...]:
    """Names of the model's classes, in its order, after checking that the list means the same ones.

    Raises:
        DataError: names differ (the first one is named), or counts differ where one side has only numbers.
    """
    ours, theirs = model.class_names, manifest.class_names
    if ours is not None and theirs is not None and ours != theirs:
        place = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        own, other = (names[place] if place < len(names) else "nothing" for names in (ours, theirs))
        hint = did_you_mean(other, ours)
        raise DataError(
            f"{manifest.source}: class names disagree: class {place} is '{other}', '{own}' in the checkpoint{hint}"
        )
    if theirs is not None and len(theirs) != model.num_classes:
        raise DataError(
            f"{manifest.source}: {len(theirs)} classes, but the checkpoint has {model.num_classes} without names"
        )
    if manifest.num_classes > model.num_classes:
        raise DataError(
            f"{manifest.source}: label {manifest.num_classes - 1}, but the checkpoint has {model.num_classes} classes"
        )
    return class_labels(model, theirs)


def find_pairs(source: str | Path) -> list[tuple[str, str]]:
    """Pairs of mirrored classes: two names a line in ``pairs.csv`` in or beside a list. [] when there is none.

    Raises:
        DataError: a line that does not hold two names.
    """
    source = Path(source)
    file = next((path for path in (source / PAIRS_FILE, source.absolute().parent / PAIRS_FILE) if path.is_file()), None)
    if file is None:
        return []
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = [[name.strip() for name in row] for row in csv.reader(stream) if row]
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not all(row):
            raise DataError(f"{file} row {number}: '{','.join(row)}' is not a pair of class names")
    return [(first, second) for first, second in rows]


def _pair_indices(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> tuple[Pair, ...]:
    """Indices of the pairs. Raises DataError when a name is not a class."""
    by_name = {name: index for index, name in enumerate(names)}
    for name in (name for pair in pairs for name in pair):
        if name not in by_name:
            raise DataError(f"{PAIRS_FILE}: '{name}' is not one of the {len(names)} classes{did_you_mean(name, names)}")
    return tuple((by_name[first], by_name[second]) for first, second in pairs)
