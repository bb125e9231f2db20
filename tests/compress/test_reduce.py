"""Laws of everything with a keep rate: evit, random, merge."""

import pytest
import torch

from tests.compress.layers import make_factory, variants_with
from tests.models.tiny import perturb, tiny_clip, tiny_model
from vidtok.compress.evit import KeepAttended
from vidtok.compress.reduce import plan_reducers, take_rows
from vidtok.config import EViTConfig
from vidtok.errors import ConfigError
from vidtok.models.profile import count_params

KINDS = ("evit", "random", "merge")
PAIRS = [(kind, variant) for kind in KINDS for variant in variants_with(kind)]


@pytest.mark.parametrize(("kind", "variant"), PAIRS)
def test_keep_rate_one_is_the_dense_model_bit_for_bit_in_eval_and_training(kind, variant):
    dense, model = tiny_model(variant), tiny_model(variant, compressor={"kind": kind, "budget": 1.0})
    perturb(dense)
    model.load_state_dict(dense.state_dict())
    clip = tiny_clip()
    assert torch.equal(model(clip), dense(clip))
    assert torch.equal(model.train()(clip), dense.train()(clip))
    assert model.token_counts == dense.token_counts


@pytest.mark.parametrize(("kind", "variant"), PAIRS)
def test_a_budget_changes_no_parameter_and_comes_back(kind, variant):
    model, clip = tiny_model(variant, compressor={"kind": kind, "budget": 1.0}), tiny_clip()
    before, counts, parameters = model(clip), model.token_counts, count_params(model)
    model.set_budget(0.5)
    assert not torch.equal(model(clip), before) and model.token_counts[-1] < counts[-1]
    model.set_budget(1.0)
    assert torch.equal(model(clip), before)
    assert count_params(model) == parameters == count_params(tiny_model(variant))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_that_keeps_every_token_of_a_few_changes_nothing(kind):
    model, clip = tiny_model("vit", compressor={"kind": kind, "budget": 0.9}), tiny_clip()
    answer = model(clip)  # 4 patches: ceil(3.6) = 4
    model.set_budget(1.0)
    assert torch.equal(answer, model(clip))


@pytest.mark.parametrize(("depth", "reducing"), [(4, (1, 2, 3)), (12, (3, 6, 9)), (24, (6, 12, 18)), (32, (8, 16, 24))])
def test_the_default_layers_are_the_4th_7th_and_10th_of_12_scaled_with_the_depth(depth, reducing):
    plan = plan_reducers(make_factory(1, 2, 2, depth=depth), EViTConfig(), KeepAttended)
    assert tuple(layer for layer, block in enumerate(plan.modules) if block.reducer is not None) == reducing


def test_chosen_layers_count_from_one_and_must_exist():
    factory = make_factory(1, 2, 2, depth=4)
    plan = plan_reducers(factory, EViTConfig(layers=(1, 4)), KeepAttended)
    assert [block.reducer is not None for block in plan.modules] == [True, False, False, True]
    for wrong in (0, 5):
        with pytest.raises(ConfigError, match=f"layers: {wrong} is not one of the encoder's layers 1 to 4"):
            plan_reducers(factory, EViTConfig(layers=(wrong,)), KeepAttended)
    with pytest.raises(ConfigError, match="layers is empty"):
        plan_reducers(factory, EViTConfig(layers=()), KeepAttended)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [0.0, -0.5, 1.5, (2, 2), float("nan")])
def test_a_budget_that_is_no_keep_rate_is_refused_and_the_old_one_stays(kind, budget):
    model = tiny_model("vit", compressor=kind)
    with pytest.raises(ConfigError, match=f"{kind} budget .* must be a keep rate"):
        model.set_budget(budget)
    assert model.budget == 0.7


def test_merge_refuses_to_leave_less_than_half():
    with pytest.raises(ConfigError, match=r"merge budget '0.4' must be a keep rate in \[0.5, 1\]"):
        tiny_model("vit", compressor="merge").set_budget(0.4)


def test_rows_are_those_of_gather():
    x, index = torch.randn(3, 7, 5), torch.randint(7, (3, 4))
    assert torch.equal(take_rows(x, index), x.gather(1, index[..., None].expand(-1, -1, 5)))
