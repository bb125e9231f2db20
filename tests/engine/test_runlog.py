"""What was logged is there once, whatever ended the run."""

from pathlib import Path

import pytest

from vidtok.engine.runlog import EventFile, MetricsFile, read_rows, rows_until
from vidtok.errors import EnvironmentFault

STEPS = [{"epoch": 0, "train/loss": 2.5 - step} for step in range(3)]


def log(file: Path, *, first: int = 0, **begun: int | bool) -> MetricsFile:
    logger = MetricsFile(file, **begun)
    for step in range(first, 3):
        logger.log_metrics(STEPS[step], step=step)
    return logger


def test_a_row_is_in_the_file_as_soon_as_it_is_logged_and_epochs_are_whole_numbers(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    logger = MetricsFile(file)
    logger.log_metrics(STEPS[0], step=0)
    assert file.read_text() == "epoch,step,train/loss\n0,0,2.5\n"
    logger.log_metrics({"epoch": 0, "val/loss": 3.0}, step=0)
    assert file.read_text() == "epoch,step,train/loss,val/loss\n0,0,2.5,\n0,0,,3.0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("done", range(4))
def test_a_run_that_goes_on_logs_no_step_twice(tmp_path: Path, done: int) -> None:
    log(tmp_path / "whole.csv")
    log(tmp_path / "metrics.csv")
    log(tmp_path / "metrics.csv", first=done, step=done)
    assert (tmp_path / "metrics.csv").read_text() == (tmp_path / "whole.csv").read_text() or done == 3


def test_a_validation_that_is_made_again_is_logged_once() -> None:
    rows = [{"step": "4", "val/loss": "1"}, {"step": "5", "train/loss": "2"}, {"step": "5", "val/loss": "3"}]
    assert rows_until(rows, 6, owes_validation=False) == rows
    assert rows_until(rows, 6, owes_validation=True) == rows[:2]
    assert rows_until(rows, 5, owes_validation=True) == []


def test_a_row_that_a_full_disk_cut_short_is_none(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    log(file)
    file.write_text(file.read_text()[:-2])
    assert [row["step"] for row in read_rows(file)] == ["0", "1"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    for logger in (MetricsFile(tmp_path / "no" / "metrics.csv"), EventFile(tmp_path / "metrics.csv" / "x" / "..")):
        logger.file = tmp_path / "metrics.csv" if isinstance(logger, EventFile) else logger.file
        with pytest.raises(EnvironmentFault, match="cannot write"):
            logger.log_metrics({"epoch": 0}, step=0)


def test_tensorboard_shows_each_step_once_after_going_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for begun, steps in ((0, range(5)), (3, range(3, 6))):
        logger = EventFile(tmp_path, step=begun)
        for step in steps:
            logger.log_metrics({"epoch": 0, "train/loss": 10.0 * begun + step}, step=step)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [
        (0, 0.0), (1, 1.0), (2, 2.0), (3, 33.0), (4, 34.0), (5, 35.0),
    ]  # fmt: skip
