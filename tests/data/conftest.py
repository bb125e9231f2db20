"""Fixtures of the data tests."""

from pathlib import Path

import pytest

from tests.data.difficult_files import DIFFICULT
from tests.data.video_files import ENCODINGS, write


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one small, difficult video per entry of ENCODINGS."""
    folder = tmp_path_factory.mktemp("videos")
    for name, encoding in ENCODINGS.items():
        write(folder / name, encoding)
    return folder


@pytest.fixture(scope="session")
def difficult(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one file of every kind in DIFFICULT, damaged and unreadable ones too."""
    folder = tmp_path_factory.mktemp("difficult")
    for name, make in DIFFICULT.items():
        make(folder / name)
    return folder
