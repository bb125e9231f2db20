"""Figures of the benchmark, what to conclude from them, and their JSON document."""

import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from vidtok.data.bench.readers import LIMIT
from vidtok.data.synthetic import num_cores

SCHEMA = "vidtok.bench.data/2"

_PACKAGES = ("av", "decord", "torchcodec", "pytorchvideo", "torch", "numpy")

_WORTH_CHANGING = 1.1
"""An engine must be faster by this to be recommended over the default: less is noise on most machines."""


@dataclass(frozen=True, slots=True)
class Row:
    """One reader on one group of files."""

    reader: str
    is_peer: bool
    ms_per_clip: float
    """Processor time, median of the rounds."""
    spread: float
    """Half the distance of the quartiles of the rounds over their median."""
    times_auto: float
    """How many times as long as the default reader; median of the rounds' ratios."""
    fallbacks: tuple[str, ...] = ()
    """Why the engine handed samples to PyAV, one cause for each of them."""

    @property
    def clips_per_s(self) -> float:
        """Of one core."""
        return 1000 / self.ms_per_clip


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one kind."""

    name: str
    clips: int
    """Clips read in each round."""
    left_out: int
    """Files that cannot be compared."""
    rows: tuple[Row, ...]
    stages_ms: dict[str, float]
    """Of one training sample with the default reader."""
    views_ms: dict[str, float]
    """Of the test views of one video, damage looked for."""

    def row(self, reader: str) -> Row | None:
        return next((row for row in self.rows if row.reader == reader), None)

    @property
    def samples_per_s(self) -> float:
        """Whole training samples per second and core."""
        return 1000 / sum(self.stages_ms.values())

    def share_of_limit(self, reader: str) -> float:
        """Speed of a reader as a share of decoding alone."""
        return self.row(LIMIT).times_auto / self.row(reader).times_auto


@dataclass(frozen=True, slots=True)
class Report:
    machine: dict[str, Any]
    rounds: int
    groups: tuple[Group, ...]

    @property
    def samples_per_s(self) -> float:
        """Training samples per second and core, over all groups."""
        return len(self.groups) / sum(1 / group.samples_per_s for group in self.groups)

    def gpus_fed(self, clips_per_s: float) -> float:
        """How many GPUs that train on so many clips per second all cores of this machine can feed."""
        return self.samples_per_s * self.machine["cores"] / clips_per_s


def recommend(report: Report) -> str:
    """One line: the engine for these files."""
    ratios = {}
    for engine in ("decord", "torchcodec"):
        rows = [group.row(engine) for group in report.groups]
        if all(rows):
            ratios[engine] = prod(row.times_auto for row in rows) ** (1 / len(rows))
    if not ratios:
        return "decoder: auto (PyAV); no other engine is installed here"
    best = min(ratios, key=ratios.get)
    if ratios[best] * _WORTH_CHANGING < 1:
        return f"decoder: {best}; it is {1 / ratios[best]:.2f} times as fast as auto (PyAV) on these files"
    others = ", ".join(f"{engine} takes {ratio:.2f} times as long" for engine, ratio in sorted(ratios.items()))
    return f"decoder: auto (PyAV); {others}"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": _cpu_name(), "cores": num_cores(), "load": _load(), "system": platform.platform()} | versions


def document(report: Report, *, gpu_clips_per_s: float | None = None) -> dict[str, Any]:
    """The report as JSON values."""
    groups = []
    for group in report.groups:
        rows = [
            asdict(row) | {"clips_per_s": row.clips_per_s, "share_of_limit": group.share_of_limit(row.reader)}
            for row in group.rows
        ]
        groups.append(asdict(group) | {"rows": rows, "samples_per_s": group.samples_per_s})
    feeds = None if gpu_clips_per_s is None else report.gpus_fed(gpu_clips_per_s)
    return {
        "schema": SCHEMA,
        "machine": report.machine,
        "clock": "processor time, one core",
        "rounds": report.rounds,
        "groups": groups,
        "samples_per_s": report.samples_per_s,
        "gpu_clips_per_s": gpu_clips_per_s,
        "gpus_fed": feeds,
        "recommendation": recommend(report),
    }


def _cpu_name() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> float | None:
    """Mean number of processes that wanted to run in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
