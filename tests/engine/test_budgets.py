import pytest

from tests.models.tiny import tiny_model
from vidtok.config import TrainConfig
from vidtok.engine.budgets import RUNGS, BudgetSchedule, keep_rate
from vidtok.errors import ConfigError


def schedule(compressor, **train) -> BudgetSchedule:
    model = tiny_model("vivit", depth=4, size=64, compressor=compressor)
    return BudgetSchedule(model, TrainConfig(**train), seed=0, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 1), (10, 1), (35, 0.956), (60, 0.85), (85, 0.744), (110, 0.7), (300, 0.7)]
)
def test_the_keep_rate_falls_as_evits_does(epoch: int, rate: float):
    assert keep_rate(epoch * 7, target=0.7, start=10 * 7, length=100 * 7) == pytest.approx(rate, abs=5e-4)


def test_a_compiled_model_meets_at_most_eight_rates_none_below_the_schedule():
    rates = schedule("evit", shrink_start_epoch=1, shrink_epochs=5)
    exact = [rates.at(step) for step in range(80)]
    rungs = [rates.at(step, compiled=True) for step in range(80)]
    assert len(set(rungs)) == RUNGS == rates.num_graphs and rungs[0] == 1.0 and rungs[-1] == 0.7
    assert all(rung >= rate - 1e-9 for rung, rate in zip(rungs, exact, strict=True))
    assert rungs == sorted(rungs, reverse=True)


def test_without_a_schedule_the_model_keeps_its_budget():
    assert schedule("evit").at(5) is None and schedule("none").at(5) is None


@pytest.mark.parametrize(
    ("compressor", "train"),
    [("none", {}), ({"kind": "lookup", "budget": "2x2"}, {}), ("evit", {"budget_set": [0.5, 1.0]})],
)
def test_a_falling_rate_needs_a_keep_rate_and_no_other_schedule(compressor, train):
    with pytest.raises(ConfigError, match="need a compressor with a keep rate"):
        schedule(compressor, shrink_epochs=5, **train)


def test_a_budget_that_does_not_fit_stops_before_the_first_step():
    with pytest.raises(ConfigError, match=r"train\.budget_set: evit budget '5x5' must be a keep rate"):
        schedule("evit", budget_set=["5x5"])
