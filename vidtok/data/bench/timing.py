"""Processor time of tasks that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vidtok.data.decode.isolated import child_seconds


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per run in each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(largest - smallest) / median."""
        return (max(self.seconds) - min(self.seconds)) / self.median

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
            seconds[name].append((processor_seconds() - start) / runs)
        if on_round is not None:
            on_round()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
