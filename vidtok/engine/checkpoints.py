"""The checkpoint files of a run: ``last.ckpt``, the one before it, and the best."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

LAST, BEFORE, BEST = "last.ckpt", "last-1.ckpt", "best.ckpt"


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints so that a whole one is there at every instant, whatever ends the process or fills the disk.

    A file is written beside its name, synced and moved; ``last.ckpt`` is linked to ``last-1.ckpt`` before it is
    replaced. As Lightning's own it is called in the first process only; what failed there is kept in ``fault``.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: OSError | None = None

    @property
    def part(self) -> Path:
        """Where a checkpoint is written before it has its name."""
        return _part(self.folder / LAST)

    def newest(self) -> Path | None:
        """The newest whole checkpoint to go on from."""
        return next((self.folder / name for name in (LAST, BEFORE) if (self.folder / name).is_file()), None)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write and sync a file; an OSError is kept in ``fault``, so that no process waits for this one in vain."""
        assert storage_options is None
        content = io.BytesIO()  # torch's own file writer does not say why it failed
        torch.save(checkpoint, content)
        with self._noting_fault(), Path(path).open("wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())

    def publish(self, *, is_best: bool) -> None:
        """Give the written file its names; nothing happens when it could not be written."""
        if self.fault is not None:
            return
        with self._noting_fault():
            last = self.folder / LAST
            if is_best:
                _link(self.part, self.folder / BEST)
            if last.is_file():
                _link(last, self.folder / BEFORE)
            os.replace(self.part, last)
            _sync_folder(self.folder)

    @contextmanager
    def _noting_fault(self) -> Iterator[None]:
        """Keep an OSError; whatever ends the block early, no half-written file stays."""
        self.fault = None
        try:
            yield
        except BaseException as error:
            for name in (LAST, BEFORE, BEST):
                _part(self.folder / name).unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            self.fault = error


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy where the file system has no links."""
    part = _part(target)
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
    os.replace(part, target)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # some network file systems cannot, and nothing more can be done there
        os.fsync(descriptor)
    os.close(descriptor)
