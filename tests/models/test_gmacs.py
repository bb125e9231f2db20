"""Multiply-adds and parameters on the meta device against published and independently computed figures.

Sources: transformers' models counted with eager attention (exact parameters), the tables of ViViT
(arXiv 2103.15691), TimeSformer (2102.05095) and VideoMAE (2203.12602), whose GFLOPs are these GMACs plus
small norm and softmax terms, and the closed form (4N + 15M) D^2 + (3NM + 2M^2) D of a LookupViT block.
"""

from typing import Any

import pytest
import torch

from vidtok.config import ClipConfig, ModelConfig, from_tree
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model
from vidtok.models.profile import count_gmacs, count_params, profile

Fields = dict[str, Any]


def gmacs_of(backbone: Fields | str, frames: int, size: int, classes: int, lookup: Fields | None = None) -> float:
    return count_gmacs(build(backbone, frames, size, classes, lookup))


def params_of(backbone: Fields | str, frames: int, size: int, classes: int, lookup: Fields | None = None) -> int:
    return count_params(build(backbone, frames, size, classes, lookup))


def build(backbone: Fields | str, frames: int, size: int, classes: int, lookup: Fields | None) -> VideoModel:
    compressor = "none" if lookup is None else {"kind": "lookup", **lookup}
    config = from_tree(ModelConfig, {"backbone": backbone, "compressor": compressor})
    with torch.device("meta"):
        return build_model(config, ClipConfig(frames=frames, size=size), num_classes=classes)


def assert_printed(value: float, printed: str) -> None:
    """Within 0.1 % of a printed number, or within half of its last digit where that is coarser."""
    half_digit = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    assert abs(value - float(printed)) <= max(1e-3 * float(printed), 1.001 * half_digit)


def vivit(**fields: Any) -> Fields:
    return {"kind": "vivit", **fields}


def fe(**fields: Any) -> Fields:
    return {"kind": "vivit_fe", **fields}


def timesformer(**fields: Any) -> Fields:
    return {"kind": "timesformer", **fields}


@pytest.mark.parametrize(
    ("backbone", "frames", "size", "classes", "params"),
    [
        ("vivit_b_16x2", 32, 224, 400, 88_954_000),
        ("vit_b_16", 1, 224, 1000, 86_567_656),
        ("timesformer_b_16", 8, 224, 400, 121_566_352),
        ("timesformer_b_16", 8, 224, 174, 121_392_558),
        ("timesformer_b_16", 16, 448, 400, 122_024_080),
        ("timesformer_b_16", 96, 224, 400, 121_633_936),
        ("timesformer_b_16", 64, 224, 174, 121_435_566),
        (timesformer(attention="joint"), 8, 224, 400, 86_112_400),
        (timesformer(attention="space"), 8, 224, 400, 86_106_256),
        ("videomae_b_16x2", 16, 224, 400, 86_534_800),
    ],
)
def test_parameters_equal_the_reference_implementations_to_the_unit(backbone, frames, size, classes, params):
    assert params_of(backbone, frames, size, classes) == params


@pytest.mark.parametrize(
    ("backbone", "frames", "size", "gmacs", "params_m"),
    [
        ("vivit_b_16x2", 32, 224, "451.5", "88.954"),
        ("vivit_fe_b_16x2", 32, 224, "283.3", "115.063"),
        (fe(temporal_depth=0), 32, 224, "282.9", "86.696"),
        ("vivit_fsa_b_16x2", 32, 224, "371.1", "117.319"),
        ("vivit_fdp_b_16x2", 32, 224, "276.2", "88.952"),
        ("vivit_b_16x2", 16, 224, "180.5", "87.750"),
        ("vivit_b_16x4", 32, 224, "182.3", None),
        ("vivit_fe_b_16x4", 32, 224, "143.5", None),
        ("vivit_b_32x2", 32, 224, "81.7", None),
        ("vivit_l_16x2", 32, 224, "1436.0", "307.509"),
        ("vivit_l_16x2", 32, 320, "3957.0", None),
        ("vivit_fe_l_16x2", 32, 224, "988.2", "354.903"),
        (fe(size="l", temporal_depth=24), 32, 224, "992.5", "606.828"),
        ("vivit_fe_l_16x2", 128, 224, "3952.6", None),
        (fe(size="l", temporal_depth=24), 128, 224, "3969.1", None),
        ("vivit_fe_l_16x2", 32, 256, "1301.0", "354.965"),
        ("vivit_fsa_l_16x2", 32, 224, "1300.3", "408.3"),
        ("vivit_fdp_l_16x2", 32, 224, "968.3", None),
        ("vivit_h_14x2", 32, 224, "3958.8", "636.9"),
        ("vivit_h_16x2", 32, 224, "2786.0", None),
        ("timesformer_b_16", 8, 224, "195.8", "121.566"),
        (timesformer(attention="joint"), 8, 224, "179.6", "86.112"),
        (timesformer(attention="space"), 8, 224, "140.5", "86.106"),
        ("timesformer_b_16", 16, 224, "392.1", None),
        ("timesformer_b_16", 32, 224, "785.9", None),
        ("timesformer_b_16", 64, 224, "1579.2", None),
        ("timesformer_b_16", 16, 448, "1702.7", "122.024"),
        ("timesformer_b_16", 96, 224, "2379.9", "121.634"),
        ("videomae_s_16x2", 16, 224, "56.9", "22.03"),
        ("videomae_b_16x2", 16, 224, "180.3", "86.53"),
        ("videomae_l_16x2", 16, 224, "596.8", "304.27"),
    ],
)
def test_video_backbones_cost_what_the_tables_say(backbone, frames, size, gmacs, params_m):
    model = build(backbone, frames, size, 400, None)
    assert_printed(count_gmacs(model), gmacs)
    if params_m is not None:
        assert round(count_params(model) / 1e6, len(params_m.partition(".")[2])) == float(params_m)


@pytest.mark.parametrize(("size", "pixels", "gmacs"), [("b", 224, "17.56"), ("b", 384, "55.48"), ("l", 224, "61.55")])
def test_image_models_cost_what_the_tables_say(size, pixels, gmacs):
    assert_printed(gmacs_of({"kind": "vit", "size": size}, 1, pixels, 1000), gmacs)


READINGS: dict[str, Fields] = {
    "as published": {},
    "no infusion projection": {"wo2": False},
    "no projections": {"wo": False, "wo2": False},
    "lookup mlp as wide as a token": {"q": 1.0},
    "own infusion attention": {"reuse": "recompute"},
    "lookup mlp twice as wide": {"q": 0.5},
    "lookup mlp four times as wide": {"q": 0.25},
}


LOOKUP_ROWS = [
    ("as published", 224, ("6.67", "8.47", "11.18", "17.01")),
    ("as published", 384, ("17.75", "19.71", "22.68", "29.04")),
    ("as published", 512, ("30.8", "33.0", "36.2", "43.2")),
    ("no infusion projection", 224, ("5.28", "7.08", "9.79", "15.62")),
    ("no projections", 224, ("5.22", "6.90", "9.44", "14.91")),
    ("lookup mlp as wide as a token", 224, ("8.06", "9.85", "12.57", "18.40")),
    ("own infusion attention", 224, ("8.14", "10.08", "13.00", "19.28")),
    ("lookup mlp twice as wide", 224, ("10.83", "12.63", "15.34", "21.17")),
    ("lookup mlp four times as wide", 224, ("16.38", "18.18", "20.89", "26.72")),
]
LOOKUP_SIDES = (3, 5, 7, 10)


@pytest.mark.parametrize(("reading", "pixels", "gmacs"), LOOKUP_ROWS)
def test_every_reading_of_lookupvit_b_costs_what_its_formula_says_at_5x5(reading, pixels, gmacs):
    lookup = {**READINGS[reading], "budget": (5, 5)}
    assert_printed(gmacs_of("vit_b_16", 1, pixels, 1000, lookup), gmacs[LOOKUP_SIDES.index(5)])


@pytest.mark.slow
@pytest.mark.parametrize("side", LOOKUP_SIDES)
@pytest.mark.parametrize(("reading", "pixels", "gmacs"), LOOKUP_ROWS)
def test_every_reading_of_lookupvit_b_costs_what_its_formula_says(reading, pixels, gmacs, side):
    lookup = {**READINGS[reading], "budget": (side, side)}
    assert_printed(gmacs_of("vit_b_16", 1, pixels, 1000, lookup), gmacs[LOOKUP_SIDES.index(side)])


@pytest.mark.parametrize(
    ("backbone", "size", "budget", "reading", "gmacs"),
    [
        ("vivit_fe_b_16x2", 224, (3, 3), "as published", "109.1"),
        ("vivit_fe_b_16x2", 224, (5, 5), "as published", "137.8"),
        ("vivit_fe_b_16x2", 224, (7, 7), "as published", "181.2"),
        ("vivit_fe_b_16x2", 224, (10, 10), "as published", "274.5"),
        ("vivit_fe_b_16x2", 224, (5, 5), "no infusion projection", "115.6"),
        ("vivit_fe_b_16x2", 224, (5, 5), "no projections", "112.8"),
        ("vivit_fe_b_16x2", 224, (5, 5), "lookup mlp twice as wide", "204.4"),
        ("vivit_fe_b_16x2", 256, (5, 5), "as published", "166.8"),
        ("vivit_fe_l_16x2", 224, (5, 5), "as published", "478.7"),
        ("vivit_b_16x2", 224, (16, 3, 3), "as published", "120.6"),
        ("vivit_b_16x2", 224, (5, 5), "as published", "172.6"),
        ("vivit_b_16x2", 224, (8, 5, 5), "as published", "131.8"),
        ("vivit_b_16x2", 224, (16, 7, 7), "as published", "255.0"),
        ("vivit_b_16x2", 256, (8, 7, 7), "as published", "209.6"),
    ],
)
def test_lookup_in_video_costs_what_its_formula_says(backbone, size, budget, reading, gmacs):
    lookup = {**READINGS[reading], "budget": budget}
    assert_printed(gmacs_of(backbone, 32, size, 400, lookup), gmacs)


@pytest.mark.parametrize(
    ("backbone", "reading", "params_m"),
    [
        ("vit_b_16", "as published", "137.0"),
        ("vit_b_16", "no infusion projection", "129.9"),
        ("vit_b_16", "no projections", "122.9"),
        ("vit_b_16", "lookup mlp twice as wide", "158.3"),
        ("vit_b_16", "lookup mlp four times as wide", "186.6"),
        ("vit_l_16", "as published", "481.9"),
        ("vivit_fe_b_16x2", "as published", "164.8"),
        ("vivit_fe_b_16x2", "no infusion projection", "157.7"),
        ("vivit_fe_b_16x2", "no projections", "150.6"),
        ("vivit_b_16x2", "as published", "138.9"),
        ("vivit_b_16x2", "no projections", "124.8"),
    ],
)
def test_lookup_has_the_parameters_its_tables_say(backbone, reading, params_m):
    """With both heads; the factorised encoder's rows count the head of the compressed tokens alone."""
    image = backbone.startswith("vit_")
    params = params_of(backbone, 1 if image else 32, 224, 1000 if image else 400, READINGS[reading])
    uncounted = 400 * (768 + 1) if "_fe_" in backbone else 0
    assert round((params - uncounted) / 1e6, 1) == float(params_m)


def test_a_profile_is_the_cost_of_the_budget_that_it_is_asked_for():
    config = from_tree(ModelConfig, {"backbone": "vit_b_16", "compressor": "lookup", "num_classes": 1000})
    cost = profile(config, ClipConfig(frames=1, size=224), num_classes=1000, budget=(3, 3))
    assert_printed(cost.gmacs_per_view, "6.67")
    assert round(cost.params_m, 1) == 137.0
    assert cost.tokens_per_layer == [(9, 196)] * 12
