"""A whole checkpoint is there at every instant."""

import contextlib
import errno
import os
from pathlib import Path

import pytest
import torch

from vidtok.engine.checkpoints import BEFORE, BEST, LAST, CheckpointFiles


def write(files: CheckpointFiles, number: int, *, is_best: bool = False) -> None:
    files.save_checkpoint({"number": number}, files.part)
    files.publish(is_best=is_best)


def numbers(folder: Path) -> dict[str, int]:
    return {path.name: torch.load(path, weights_only=True)["number"] for path in folder.iterdir()}


def test_the_one_before_is_kept_and_the_best_stays(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path)
    assert files.newest() is None
    write(files, 1)
    assert numbers(tmp_path) == {LAST: 1}
    write(files, 2, is_best=True)
    write(files, 3)
    assert numbers(tmp_path) == {LAST: 3, BEFORE: 2, BEST: 2}
    assert files.newest() == tmp_path / LAST
    (tmp_path / LAST).unlink()
    assert files.newest() == tmp_path / BEFORE


@pytest.mark.parametrize("call", ["link", "replace", "fsync"])
@pytest.mark.parametrize("nth", range(5))
def test_killed_between_any_two_calls_a_whole_last_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    class Killed(BaseException):
        pass

    files, done, real = CheckpointFiles(tmp_path), [0], getattr(os, call)
    write(files, 1)
    write(files, 2, is_best=True)

    def until(*arguments: object) -> object:
        if done[0] == nth:
            raise Killed
        done[0] += 1
        return real(*arguments)

    monkeypatch.setattr(os, call, until)
    with contextlib.suppress(Killed):
        write(files, 3, is_best=True)
    found = numbers(tmp_path)
    assert found[LAST] in (2, 3) and found[BEFORE] in (1, 2) and found[BEST] in (2, 3)


def test_where_there_are_no_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    files = CheckpointFiles(tmp_path)
    write(files, 1)
    write(files, 2, is_best=True)
    assert numbers(tmp_path) == {LAST: 2, BEFORE: 1, BEST: 2}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_what_was_there_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    files = CheckpointFiles(tmp_path)
    write(files, 1)

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    write(files, 2)
    assert files.fault is not None and files.fault.errno == errno.ENOSPC
    assert numbers(tmp_path) == {LAST: 1}
