"""What is said about a training step, and when."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidtok.engine.callbacks import STARVED_REPORTS, Checkpoints, StopOnSignal, data_advice
from vidtok.errors import Interrupted


@pytest.mark.parametrize(
    ("waits", "speaks"),
    [
        ([], False),
        ([0.9], False),
        ([0.3] * STARVED_REPORTS, True),
        ([0.3] * (STARVED_REPORTS + 1), False),
        ([0.1] + [0.3] * STARVED_REPORTS, True),
        ([0.3] * (STARVED_REPORTS - 1) + [0.1], False),
        ([0.3] * 9 + [0.1] + [0.3] * STARVED_REPORTS, True),
        ([0.2] * STARVED_REPORTS, False),
    ],
)
def test_advice_comes_once_when_waiting_for_data_has_become_a_habit(waits: list[float], speaks: bool) -> None:
    assert (data_advice(waits) is not None) == speaks


@pytest.mark.parametrize(("batches", "stops_at"), [(12, 5), (4, 3)])
def test_ctrl_c_waits_for_the_end_of_an_accumulated_step_and_a_second_one_for_nothing(
    tmp_path: Path, batches: int, stops_at: int
) -> None:
    """Six batches make a step; a checkpoint in the middle would lose the gradient so far. Epochs may be shorter."""
    trainer = SimpleNamespace(
        accumulate_grad_batches=6, num_training_batches=batches, global_step=1, is_global_zero=True,
        save_checkpoint=lambda path: path.write_bytes(b""),
    )  # fmt: skip
    stop = StopOnSignal(Checkpoints(tmp_path, every_steps=100))
    stop.setup(trainer, None, "fit")
    try:
        with pytest.raises(Interrupted, match="stopped at once"):  # decoding into memory, before the first step
            signal.raise_signal(signal.SIGINT)
        stop.on_train_start(trainer, None)
        signal.raise_signal(signal.SIGINT)
        for batch in range(stops_at):
            stop.on_train_batch_end(trainer, None, None, None, batch)
        assert not list(tmp_path.iterdir())
        with pytest.raises(Interrupted, match="continue with the same command and --resume"):
            stop.on_train_batch_end(trainer, None, None, None, stops_at)
        with pytest.raises(Interrupted, match="stopped at once"):
            signal.raise_signal(signal.SIGTERM)
    finally:
        stop.teardown(trainer, None, "fit")
    assert (tmp_path / "last.ckpt").is_file()


def test_the_advice_names_the_share_and_what_to_do() -> None:
    advice = data_advice([0.34] * STARVED_REPORTS)
    assert "34 %" in advice and "data.workers" in advice and "vidtok data prepare" in advice
