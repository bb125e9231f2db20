"""What is said about a training step, and when."""

import pytest

from vidtok.engine.callbacks import STARVED_REPORTS, data_advice


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


def test_the_advice_names_the_share_and_what_to_do() -> None:
    advice = data_advice([0.34] * STARVED_REPORTS)
    assert "34 %" in advice and "data.workers" in advice and "vidtok data prepare" in advice
