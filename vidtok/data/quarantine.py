"""Unreadable videos: written down with their cause, and a budget that stops the run when there are too many."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidtok.errors import DataError
from vidtok.outputs import writing

Failure = tuple[str, str, str]
"""path, cause, stage"""


class Quarantine:
    """Counts distinct unreadable files and appends each once to ``quarantine.csv`` (path, cause, stage).

    At most ``max_failures * num_videos`` files may fail, rounded down; but one of several may always, unless
    ``max_failures`` is 0: a share of a small set must not make a single bad file fatal.

    Args:
        file: where to write; None keeps the counts only.
        num_videos: videos that may be read, over all splits.
        max_failures: share of them that may be unreadable.
        key: the setting that holds this share, for messages.
        fresh: begin the file anew instead of going on with it.
    """

    def __init__(
        self,
        file: Path | None,
        *,
        num_videos: int,
        max_failures: float,
        key: str = "data.max_failures",
        fresh: bool = False,
    ) -> None:
        self.file = file
        self._num_videos = num_videos
        self._max_failures = max_failures
        self._key = key
        self.causes: dict[str, str] = {}
        self._written: set[str] | None = None
        if fresh and file is not None:
            file.unlink(missing_ok=True)

    @property
    def allowed(self) -> int:
        """Number of files that may fail."""
        one = 1 if self._max_failures > 0 and self._num_videos > 1 else 0
        return max(one, int(self._max_failures * self._num_videos))

    @property
    def is_exceeded(self) -> bool:
        """True when more files failed than may."""
        return len(self.causes) > self.allowed

    def note(self, path: str, cause: str, stage: str) -> None:
        """Write down one unreadable video, whatever the budget; a file that is known already is not counted again.

        Args:
            path: the video.
            cause: one line that starts with the path.
            stage: where it was met: ``train``, ``val``, ``cache`` ...
        """
        if path not in self.causes:
            self.causes[path] = cause
            self._write(path, cause, stage)

    def check(self) -> None:
        """Raise DataError when more files failed than may."""
        if not self.is_exceeded:
            return
        where = f"; all are in {self.file}" if self.file else ""
        raise DataError(
            f"{len(self.causes)} of {self._num_videos} videos are unreadable, {self._key}="
            f"{self._max_failures:g} allows {self.allowed}; the last: {next(reversed(self.causes.values()))}{where}; "
            f"repair or delist them, or raise {self._key}"
        )

    def add(self, path: str, cause: str, stage: str) -> None:
        """Write down one unreadable video as :meth:`note` does and :meth:`check` the budget if it is a new one.

        Raises:
            DataError: more files failed than allowed.
        """
        if path not in self.causes:
            self.note(path, cause, stage)
            self.check()

    def add_batch(self, batch: Mapping[str, Any], stage: str) -> None:
        """Write down the failures of a collated batch, from its lists ``path`` and ``error``. Raises DataError."""
        for failure in self.unknown(batch, stage):
            self.add(*failure)

    def unknown(self, batch: Mapping[str, Any], stage: str) -> list[Failure]:
        """The failures of a collated batch that are not written down yet."""
        paths: Sequence[str] = batch["path"]
        return [
            (path, error, stage)
            for path, error in zip(paths, batch["error"], strict=True)
            if error and path not in self.causes
        ]

    def _write(self, path: str, cause: str, stage: str) -> None:
        if self.file is None:
            return
        with writing(self.file):
            if self._written is None:
                self._written = _paths_in(self.file)
            if path in self._written:  # by the run that this one goes on with
                return
            self._written.add(path)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                if stream.tell() == 0:
                    writer.writerow(("path", "cause", "stage"))
                writer.writerow((path, cause, stage))


def _paths_in(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        return {row[0] for row in csv.reader(stream) if row}
