"""What a user installs: the wheel built from the source distribution, and the files around it."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parent.parent
MAX_LINES = 400
TOP_LEVEL = (
    ".ci/run",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "scripts/container_smoke.sh",
    "scripts/demo.sh",
    "scripts/test.sh",
)
SHELL_SCRIPTS = (".ci/run", "scripts/container_smoke.sh", "scripts/demo.sh", "scripts/test.sh")
CITED = {"2407.12753", "2303.08685", "2202.07800", "2211.11167", "2103.15691", "2102.05095"}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the repository, without its influence through the environment; return its stdout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution so that both are complete."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, REPO, cwd=out)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a clean environment that holds the wheel.

    The dependencies come from the environment that runs the tests: a .pth line makes its packages importable, but
    not its editable installs, whose own .pth files are only read in the first environment.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder.parent)
    site_packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_the_wheel_holds_every_recipe_the_licence_and_the_command(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"vidtok/{path.relative_to(REPO).as_posix()}" for path in (REPO / "configs").rglob("*.yaml")}
    assert recipes and recipes <= names
    [entry_points] = [name for name in names if name.endswith("dist-info/entry_points.txt")]
    assert {f"vidtok/data/label_lists/{name}.txt" for name in ("kinetics400", "ssv2", "ucf101")} <= names
    assert "vidtok = vidtok.cli:main" in zipfile.ZipFile(wheel).read(entry_points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_every_module_and_nothing_else_of_the_repository(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert names == {path.relative_to(REPO).as_posix() for path in (REPO / "vidtok").rglob("*.py")}


def test_an_installed_wheel_is_what_gets_imported(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import vidtok; print(vidtok.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_an_installed_wheel_finds_its_recipes_inside_itself(installed: Path, tmp_path: Path) -> None:
    code = "from vidtok.configio import list_recipes, packaged_configs; print(packaged_configs(), *list_recipes())"
    folder, *recipes = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert Path(folder).is_relative_to(installed.parent)
    assert recipes == sorted(path.name for path in (REPO / "configs").glob("*.yaml"))


def test_the_installed_command_explains_itself_and_lists_models(installed: Path, tmp_path: Path) -> None:
    assert "train" in run(installed / "vidtok", "--help", cwd=tmp_path)
    assert "vivit_fe_b_16x2" in run(installed / "vidtok", "models", "vivit_fe_b*", cwd=tmp_path)


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_a_file_that_the_repository_promises_is_there_and_not_empty(name: str) -> None:
    assert (REPO / name).stat().st_size > 0


@pytest.mark.parametrize("name", SHELL_SCRIPTS)
def test_a_shell_script_parses_and_can_be_executed(name: str, tmp_path: Path) -> None:
    run("bash", "-n", REPO / name, cwd=tmp_path)
    assert os.access(REPO / name, os.X_OK)


def test_no_python_file_is_too_long_to_read() -> None:
    files = [path for folder in ("vidtok", "tests", "scripts") for path in (REPO / folder).rglob("*.py")]
    lengths = {path.relative_to(REPO).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_the_citation_names_each_paper_and_the_current_version() -> None:
    from vidtok import __version__

    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    identifiers = [entry["value"] for paper in citation["references"] for entry in paper["identifiers"]]
    assert {value.removeprefix("arXiv:") for value in identifiers} == CITED
    assert citation["version"] == __version__
