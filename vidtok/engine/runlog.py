"""What a training logs: one row a logged step, one a validation, as a table and for TensorBoard.

Both files are written at once and by this thread: what is logged survives a kill, and a full disk is found out here.
"""

import csv
import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from vidtok.config import LoggerConfig
from vidtok.engine.module import ClassificationModule
from vidtok.errors import EnvironmentFault

METRICS_FILE, EVENTS_FOLDER = "metrics.csv", "tensorboard"

Row = dict[str, str]


def log_row(trainer: Trainer, pl_module: ClassificationModule, values: Mapping[str, float]) -> None:
    """Log values of the step that ended last. Steps and epochs count from 0."""
    step = trainer.global_step - 1
    row = {"epoch": step // pl_module.steps_per_epoch, **values}
    for logger in trainer.loggers:
        logger.log_metrics(row, step=step)


def make_loggers(config: LoggerConfig, folder: Path, *, step: int = 0, owes_validation: bool = False) -> list[Logger]:
    """The loggers of a run that goes on after ``step`` steps; what was logged behind them will be logged again.

    Args:
        config: which of them.
        folder: the run folder.
        step: optimiser steps done.
        owes_validation: the validation after them is still to be made.
    """
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(MetricsFile(folder / METRICS_FILE, step=step, owes_validation=owes_validation))
    if config.tensorboard:
        loggers.append(EventFile(folder / EVENTS_FOLDER, step=step))
    return loggers


class _RunLogger(Logger):
    """What both have in common: the first rank writes, and a disk that cannot is the user's to know."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """``config.yaml`` holds them."""

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EnvironmentFault(f"cannot write {self.file}: {error.strerror}") from None


class MetricsFile(_RunLogger):
    """``metrics.csv``: a row for each call, its columns in the order of their names."""

    def __init__(self, file: Path, *, step: int = 0, owes_validation: bool = False) -> None:
        super().__init__(file)
        self._columns: list[str] = []
        self._keep = step, owes_validation
        self._is_open = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {key: str(value) for key, value in {**metrics, "step": step}.items()}
        with self._writing():
            self._open()
            if row.keys() <= set(self._columns):
                with self.file.open("a", newline="", encoding="utf-8") as stream:
                    stream.write(_lines(self._columns, [row]))
            else:
                self._write_all([*read_rows(self.file), row])

    @rank_zero_only
    def save(self) -> None:
        """Nothing waits to be written; before the first row, take off what will be logged again."""
        with self._writing():
            self._open()

    def _open(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._write_all(rows_until(read_rows(self.file), *self._keep))

    def _write_all(self, rows: list[Row]) -> None:
        """Replace the file as a whole: no row is lost when this is the last thing the process does."""
        self._columns = sorted({key for row in rows for key in row})
        if not rows:
            self.file.unlink(missing_ok=True)
            return
        part = self.file.with_name(f".{self.file.name}.part")
        try:
            part.write_text(_lines(self._columns, [dict(zip(self._columns, self._columns, strict=True)), *rows]))
            os.replace(part, self.file)
        finally:
            part.unlink(missing_ok=True)


def read_rows(file: Path) -> list[Row]:
    """The whole rows of a table, as text and without empty cells; a row that was cut short is none."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    return [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(whole)]


def rows_until(rows: list[Row], step: int, owes_validation: bool) -> list[Row]:
    """The rows of the first ``step`` steps, without the validation after them when it will be made again."""
    kept = [row for row in rows if int(row["step"]) < step]
    if owes_validation:
        kept = [row for row in kept if int(row["step"]) < step - 1 or not any(key.startswith("val/") for key in row)]
    return kept


def _lines(columns: list[str], rows: list[Row]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


class EventFile(_RunLogger):
    """TensorBoard events. A run that goes on writes a new file, which hides what older ones hold from its step on."""

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        super().__init__(folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}")
        self._first_step = step

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        events = []
        if not self.file.exists():
            events.append(Event(wall_time=time.time(), file_version="brain.Event:2"))
            if self._first_step:
                start = SessionLog(status=SessionLog.START)
                events.append(Event(wall_time=time.time(), step=self._first_step, session_log=start))
        values = [Summary.Value(tag=key, simple_value=float(value)) for key, value in metrics.items()]
        events.append(Event(wall_time=time.time(), step=step or 0, summary=Summary(value=values)))
        self._append([event.SerializeToString() for event in events])

    def _append(self, records: list[bytes]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        content = io.BytesIO()
        writer = RecordWriter(content)
        for record in records:
            writer.write(record)
        with self._writing():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as stream:
                stream.write(content.getvalue())
