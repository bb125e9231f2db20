"""Shared fixtures: real files when they are there, RNG state put back, slow and CUDA marks."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

REPO = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    require_cuda = os.environ.get("VIDTOK_REQUIRE_CUDA") == "1"
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: add --slow"))
        if "needs_cuda" in item.keywords and not torch.cuda.is_available() and not require_cuda:
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and difficult files that the repository does not contain."""
    folder = Path(os.environ.get("VIDTOK_SHARED_DATA", REPO.parent / "shared" / "data"))
    if not all((folder / part).is_dir() for part in ("clips", "formats", "labels")):  # "" and an empty folder as well
        pytest.skip(f"no real files at {folder}; set VIDTOK_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def motion_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 real mp4 clips of 12 classes, 32 pixels: 48 train, 6 val, 6 test."""
    from vidtok.data.synthetic import write_motion_set

    folder = tmp_path_factory.mktemp("motion") / "set"
    return write_motion_set(folder, clips=60, seed=1, size=32, frames=12, processes=1)


@pytest.fixture(autouse=True)
def _rng_state_is_put_back() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
