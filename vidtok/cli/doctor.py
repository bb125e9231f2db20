"""``vidtok doctor``: what is installed, what works here, and what to do about the rest."""

import importlib
import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from vidtok.errors import EnvironmentFault
from vidtok.text import printable, to_json

REQUIRED = ("torch", "av", "numpy", "einops", "pydantic", "safetensors", "huggingface_hub", "matplotlib")
TRAINING = ("lightning", "torchmetrics", "tensorboard")
OPTIONAL = ("decord", "torchcodec")
HINTS = {
    "torch": "pip install torch --index-url https://download.pytorch.org/whl/cpu, or as https://pytorch.org says",
    "torchcodec": "PyPI's wheel is a CUDA build that needs libnvrtc; the CPU build: "
    "pip install torchcodec --index-url https://download.pytorch.org/whl/cpu",
}
"""What to do where ``pip install NAME`` is not the answer."""
BROKEN = (ImportError, OSError, RuntimeError, AttributeError, NameError, SyntaxError, TypeError, ValueError, KeyError)
"""What importing half an installation raises."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    works: bool
    detail: str
    """Version or finding; where it does not work, the cause and what to do."""
    required: bool = False


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False) -> None:
    """Check versions, devices, decoders and paths. Exits with 5 when something required does not work."""
    checks = _checks()
    if as_json:
        host = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
        print(to_json({"schema": "vidtok.doctor/1", **host, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print(f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
        for check in checks:
            state = "ok  " if check.works else "FAIL" if check.required else "-   "
            print(f"{state} {check.name:24} {printable(check.detail)}")
    failed = [check.name for check in checks if check.required and not check.works]
    if failed:
        raise EnvironmentFault(f"not working: {', '.join(failed)}; see `vidtok doctor` for causes")


def _checks() -> list[Check]:
    """Packages first; then what needs one of them, unless that one does not work."""
    packages = [_package(name, required=True) for name in REQUIRED]
    packages += [_package(name) for name in TRAINING + OPTIONAL]
    working = {check.name for check in packages if check.works}
    checks = [*packages]
    for name, needs, find in (
        ("cpu", "torch", _devices),
        ("libx264", "av", _encoder),
        ("recipes", "pydantic", _recipes),
        ("hub cache", "huggingface_hub", _hub),
    ):
        checks += find() if needs in working else [Check(name, False, f"not checked: {needs} does not work")]
    return checks


def _package(name: str, *, required: bool = False) -> Check:
    hint = HINTS.get(name, "")
    try:
        module = importlib.import_module(name)
    except BROKEN as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return Check(name, False, f"not installed; {hint or f'pip install {name}'}", required)
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        return Check(name, False, f"does not import: {cause}" + (f"; {hint}" if hint else ""), required)
    try:
        return Check(name, True, importlib.metadata.version(name), required)
    except importlib.metadata.PackageNotFoundError:  # a fork under another name, such as decord2 for decord
        return Check(name, True, getattr(module, "__version__", "version unknown"), required)


def _devices() -> list[Check]:
    import torch

    cpu = Check("cpu", True, f"{torch.get_num_threads()} threads", required=True)
    if not torch.cuda.is_available():
        build = torch.version.cuda or "none: a CPU wheel"
        return [cpu, Check("cuda", False, f"no usable GPU (torch's CUDA: {build}); training and inference use the CPU")]
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{gpu.name} {gpu.total_memory / 2**30:.0f} GiB" for gpu in found)
    return [cpu, Check("cuda", True, f"{names}; bf16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}")]


def _encoder() -> list[Check]:
    import av

    works = "libx264" in av.codecs_available
    detail = "can write H.264" if works else "PyAV lacks libx264: `vidtok data synthetic` cannot write mp4"
    return [Check("libx264", works, detail)]


def _recipes() -> list[Check]:
    from vidtok.configio import list_recipes, packaged_configs

    names = list_recipes()
    return [Check("recipes", bool(names), f"{len(names)} in {packaged_configs()}", required=True)]


def _hub() -> list[Check]:
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    place = Path(HF_HUB_CACHE)
    state = "exists" if place.is_dir() else "not there yet"
    return [Check("hub cache", True, f"{place} ({state}){', offline mode' if HF_HUB_OFFLINE else ''}")]
