"""Imports go one way, stay cheap where they must, and heavy or fragile packages stay out."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
PACKAGE = REPO / "vidtok"

# What each part of the package may import, itself aside. The package's root is lazy and imports nothing at once.
ALLOWED: dict[str, set[str]] = {
    "text": set(),
    "errors": set(),
    "outputs": {"errors"},
    "config": {"text", "errors"},
    "configio": {"text", "errors", "config"},
    "data": {"text", "errors", "outputs", "config"},
    "nn": {"text", "errors"},
    "compress": {"text", "errors", "config", "nn"},
    "models": {"text", "errors", "outputs", "config", "nn", "compress"},
    "engine": {"text", "errors", "outputs", "config", "configio", "data", "nn", "compress", "models"},
    "cli": {"text", "errors", "outputs", "config", "configio", "data", "nn", "compress", "models", "engine"},
    "__main__": {"cli"},
}
LIGHTNING_FILES = {
    "data/datamodule.py",
    "engine/module.py",
    "engine/boundaries.py",
    "engine/callbacks.py",
    "engine/checkpoints.py",
    "engine/failures.py",
    "engine/ranks.py",
    "engine/fit.py",
    "engine/runlog.py",
    "engine/evaluate.py",
}
FORBIDDEN = {"torchvision", "timm", "transformers"}
HEAVY = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "av", "decord", "matplotlib"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def dotted(path: Path) -> str:
    """vidtok/nn/tokens.py -> vidtok.nn.tokens, vidtok/nn/__init__.py -> vidtok.nn."""
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, at its top or inside a function."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """The part of the package that a dotted name belongs to: vidtok.nn.tokens -> nn; None for other packages."""
    root, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    return part if root == "vidtok" and part in ALLOWED else None


def python(code: str) -> str:
    """Run code in a fresh interpreter, in the repository; return its stdout."""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(code: str) -> set[str]:
    """Top-level names in sys.modules after the code ran in a fresh interpreter."""
    out = python(f"{code}\nimport sys; print('modules', *{{name.partition('.')[0] for name in sys.modules}})")
    return set(out.splitlines()[-1].split())


@pytest.mark.parametrize("path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=relative)
def test_a_module_imports_only_what_lies_before_it(path: Path) -> None:
    own = part_of(dotted(path))
    assert own is not None, f"{relative(path)} belongs to no part of the package: add it to ALLOWED"
    used = {part for part in map(part_of, imports(path)) if part not in (None, own)}
    assert used <= ALLOWED[own]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_no_fragile_package_and_lightning_only_where_it_trains(path: Path) -> None:
    used = {name.partition(".")[0] for name in imports(path)}
    assert not used & FORBIDDEN
    assert relative(path) in LIGHTNING_FILES or not used & {"lightning", "pytorch_lightning"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_module_can_be_the_first_one_imported() -> None:
    # One child per module: the dependencies are loaded once, vidtok's own modules afresh in each child; but for the
    # lowest ones, which import none of those above them and have had their turn by then.
    names = [dotted(path) for path in MODULES if path.name != "__main__.py"]
    names.sort(key=lambda name: part_of(name) not in ("errors", "text", "outputs", "config", "configio"))
    lowest = [name for name in names if part_of(name) in ("errors", "text", "outputs", "config", "configio")]
    out = python(f"""
import importlib, os, traceback
import av, einops, lightning, pydantic, torch, torchmetrics
for number, name in enumerate({names!r}):
    if number == {len(lowest)}:
        import vidtok.configio, vidtok.outputs
    if child := os.fork():
        print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    try:
        importlib.import_module(name)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
""")
    assert out.splitlines() == [f"{name} 0" for name in names]


@pytest.mark.parametrize("module", ["vidtok", "vidtok.errors", "vidtok.config", "vidtok.configio", "vidtok.cli"])
def test_importing_what_the_command_line_starts_with_loads_no_heavy_package(module: str) -> None:
    assert not loaded_after(f"import {module}") & (HEAVY | FORBIDDEN)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["infer", "--help"], ["config", "show", "demo"]]
)
def test_help_and_config_load_no_torch(arguments: list[str]) -> None:
    code = f"""
import sys
from vidtok.cli import main
sys.argv = ["vidtok", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert not loaded_after(code) & (HEAVY | FORBIDDEN)


def test_models_and_inference_work_where_lightning_is_not_installed() -> None:
    # None in sys.modules makes an import fail as if the package were absent.
    loaded = loaded_after("""
import sys
sys.modules.update(dict.fromkeys(["lightning", "pytorch_lightning", "torchvision", "timm", "transformers"]))
import vidtok, vidtok.models.checkpoint, vidtok.engine.infer
vidtok.create_model, vidtok.load, vidtok.predict
""")
    assert "torch" in loaded
