"""What a number depends on, written beside it: versions, source state, hardware, data, decoders."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import vidtok
from vidtok.data.manifest import Manifest
from vidtok.engine.predict import Compute

_PACKAGES = ("torch", "lightning", "av", "decord", "torchcodec", "numpy")
_GIT_SECONDS = 10


def receipt(
    *,
    compute: Compute | None = None,
    seed: int | None = None,
    decoders: Mapping[str, int] | None = None,
    data: Manifest | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Describe the circumstances of a result as plain values.

    Args:
        compute: device and precision.
        seed: seed of the run; None where nothing was random.
        decoders: number of videos that each decoder read.
        data: the list that was used.
        extra: further entries, such as the checkpoint.
    """
    return {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "git": git_state(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "platform": platform.platform(),
        "device": device_name(compute.device if compute else torch.device("cpu")),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "precision": compute.precision if compute else None,
        "seed": seed,
        "decoders": dict(decoders or {}),
        "data": None if data is None else fingerprint(data),
        **extra,
    }


def versions() -> dict[str, str | None]:
    """Versions of everything that can change a number; None for what is not installed."""
    return {
        "vidtok": vidtok.__version__,
        "python": platform.python_version(),
        **{name: _installed(name) for name in _PACKAGES},
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """Commit of the source tree that vidtok runs from and whether it was changed since; None when installed."""
    root = Path(vidtok.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    """Output of one git command; None when git is absent, too slow or refuses the folder."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def fingerprint(data: Manifest) -> dict[str, Any]:
    """Identify a list of videos: counts, and a hash over path, label, size in bytes and part of each file, in order.

    Paths count from the files' common folder, so that the same data in another place has the same hash.
    """
    files = [item.path for item in data.items]
    base = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]) if files else "."
    digest = hashlib.sha256()
    for item in data.items:
        row = Path(os.path.relpath(item.path, base)).as_posix(), item.label, os.path.getsize(item.path)
        part = () if item.segment is None else (item.segment.start, item.segment.end, item.segment.unit)
        digest.update(repr((*row, *part)).encode())
    return {
        "source": data.source,
        "sha256": digest.hexdigest(),
        "listed": data.num_listed,
        "found": len(data.items),
        "missing": len(data.missing),
        "classes": data.num_classes,
    }
