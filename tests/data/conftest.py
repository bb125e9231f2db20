"""Fixtures of the data tests."""

from pathlib import Path

import pytest

from tests.data.video_files import ENCODINGS, write


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one small, difficult video per entry of ENCODINGS."""
    folder = tmp_path_factory.mktemp("videos")
    for name, encoding in ENCODINGS.items():
        write(folder / name, encoding)
    return folder
