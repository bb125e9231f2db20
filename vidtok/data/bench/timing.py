"""Processor time of tasks that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vidtok.data.decode.isolated import child_seconds

SHORTEST = 1e-9
"""What a clock that did not move is taken for [seconds], so that every rate and ratio is a finite number."""


def spread(seconds: Sequence[float]) -> float:
    """Half the distance of the quartiles over the median, in every document; 0 of a single round."""
    if len(seconds) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(seconds, n=4)
    return (high - low) / 2 / middle


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per run in each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """See :func:`spread`."""
        return spread(self.seconds)

    def times_as_long_as(self, other: "Timing") -> float:
        """Median of the rounds' ratios: what disturbs a round disturbs both."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True))


def processor_seconds() -> float:
    """Processor time of this process, all its threads, and of the decoding processes it has open."""
    return time.process_time() + child_seconds()


def time_in_turn(
    tasks: Mapping[str, Callable[[], object]], *, rounds: int, runs: int = 1, on_round: Callable[[], None] | None = None
) -> dict[str, Timing]:
    """Run all tasks once to warm up, then round by round, each ``runs`` times in a round."""
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = processor_seconds()
            for _ in range(runs):
                task()
            seconds[name].append(max(processor_seconds() - start, SHORTEST) / runs)
        if on_round is not None:
            on_round()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
