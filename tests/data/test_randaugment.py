"""RandAugment policies: the strings, the published ranges, the draws."""

from collections import Counter

import numpy as np
import pytest

from vidtok.config.randaugment import RandAugment, parse_randaugment
from vidtok.data.pixels import CLIP_OPS, TABLE_OPS, Op
from vidtok.data.randaugment import LEVELS, draw_randaugment
from vidtok.data.warp import WARP_OPS


def draw(text: str, *, seeds: int = 600) -> list[list[Op]]:
    rng = np.random.default_rng(0)
    return [draw_randaugment(parse_randaugment(text), rng) for _ in range(seeds)]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("rand-m7-n4-mstd0.5-inc1", RandAugment(7, 4, 0.5, increasing=True)),
        ("rand-m7-mstd.5-inc1", RandAugment(7, 2, 0.5, increasing=True)),
        ("rand-n3-inc1-m9", RandAugment(9, 3, increasing=True)),
        ("rand-inc1", RandAugment(10, 2, increasing=True)),
        ("rand-m15-mmax20-p0.8-inc1-geo0", RandAugment(15, 2, 0, 20, 0.8, True, False)),
    ],
)
def test_policies_are_written_as_timm_writes_them(text: str, policy: RandAugment) -> None:
    assert parse_randaugment(text) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m7-n4", "'m7-n4' does not start with rand-"),
        ("rand-m7-n4", "'rand-m7-n4' lacks inc1"),
        ("rand-m7-inc0", "lacks inc1"),
        ("rand-m7-w0-inc1", "'w0' in 'rand-m7-w0-inc1' is not one of m, n, mstd, mmax, p, inc, geo"),
        ("rand-n2.5-inc1", "'n2.5' in 'rand-n2.5-inc1' must be a whole number"),
        ("rand-m12-inc1", r"m must be at most 10 \(mmax\)"),
        ("rand-p2-inc1", "p at most 1"),
    ],
)
def test_other_strings_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_randaugment(text)


def test_every_operation_of_the_increasing_set_can_be_applied() -> None:
    assert set(LEVELS) == set(WARP_OPS) | set(TABLE_OPS) | set(CLIP_OPS)
    assert len(LEVELS) == 15


@pytest.mark.parametrize(
    ("magnitude", "amounts"),
    [
        (10, {"rotate": {-30, 30}, "posterize": {1}, "solarize": {0}, "solarize_add": {110}, "color": {0.1, 1.9}}),
        (10, {"shear_x": {-0.3, 0.3}, "translate_y": {-0.45, 0.45}, "sharpness": {0.1, 1.9}}),
        (7, {"rotate": {-21, 21}, "posterize": {2}, "solarize": {77}, "solarize_add": {77}, "contrast": {0.37, 1.63}}),
        (0, {"rotate": {0}, "posterize": {4}, "solarize": {256}, "solarize_add": {0}, "brightness": {1.0}}),
    ],
)
def test_amounts_are_the_published_ones(magnitude: int, amounts: dict[str, set[float]]) -> None:
    ops = [op for drawn in draw(f"rand-m{magnitude}-n4-p1-inc1") for op in drawn]
    for name, expected in amounts.items():
        found = {round(op.amount, 6) + 0.0 for op in ops if op.name == name}
        assert found == expected, name


def test_operations_are_drawn_alike_with_repetition_and_happen_half_the_time() -> None:
    drawn = draw("rand-m7-n4-mstd0.5-inc1", seeds=3000)
    counts = Counter(op.name for ops in drawn for op in ops)
    assert set(counts) == set(LEVELS)
    assert all(320 < count < 480 for count in counts.values())  # 400 expected, 4 deviations
    assert {len(ops) for ops in drawn} == {0, 1, 2, 3, 4}
    assert any(len({op.name for op in ops}) < len(ops) for ops in drawn)


def test_magnitudes_vary_around_m_and_stay_in_range() -> None:
    amounts = [abs(op.amount) / 3 for ops in draw("rand-m9-n4-mstd1-p1-inc1") for op in ops if op.name == "rotate"]
    assert 8.5 < np.mean(amounts) < 9.1 and np.std(amounts) > 0.5
    assert max(amounts) == 10


def test_magnitudes_beyond_ten_never_leave_the_range_of_an_operation() -> None:
    amounts: dict[str, set[float]] = {}
    for op in (op for ops in draw("rand-m20-mmax20-n4-p1-inc1") for op in ops):
        amounts.setdefault(op.name, set()).add(round(op.amount, 6))
    assert amounts["rotate"] == {-60, 60}
    assert (amounts["posterize"], amounts["solarize"], amounts["solarize_add"]) == ({1}, {0}, {128})
    assert amounts["color"] == {0.1, 2.8}


def test_geometric_operations_can_be_left_out() -> None:
    names = {op.name for ops in draw("rand-m7-n4-inc1-geo0") for op in ops}
    assert names == set(LEVELS) - set(WARP_OPS)
