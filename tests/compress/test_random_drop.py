import pytest
import torch

from tests.compress.layers import variants_with
from tests.models.tiny import tiny_clip, tiny_model
from vidtok.models.backbones import VideoModel


def make_model(variant: str = "vivit", *, rate: float = 0.5, layers: tuple[int, ...] = (1,)) -> VideoModel:
    return tiny_model(variant, compressor={"kind": "random", "budget": rate, "layers": layers})


def kept_patches(model: VideoModel, clip: torch.Tensor) -> list[set[int]]:
    """Which patches survive to the end, by sample."""
    return [set(sample.sum(0).nonzero().flatten().tolist()) for sample in model.trace(clip)[-1]]


@pytest.mark.parametrize("variant", variants_with("random"))
def test_eval_repeats_and_another_model_drops_the_same(variant):
    model, clip = make_model(variant), tiny_clip()
    other = make_model(variant)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(clip), model(clip))
    assert torch.equal(model(clip), other(clip))
    first, second = kept_patches(model, clip)
    assert first == second


def test_training_draws_anew_for_every_sample_and_every_call():
    model, clip = make_model().train(), tiny_clip(16)
    torch.manual_seed(0)
    once, twice = kept_patches(model, clip), kept_patches(model, clip)
    assert len(set(map(frozenset, once))) > 8  # of 70 choices of 4 from 8
    assert once != twice


def test_the_lots_come_from_the_seed():
    model, clip = make_model().train(), tiny_clip()
    torch.manual_seed(3)
    once = model(clip)
    torch.manual_seed(3)
    assert torch.equal(model(clip), once)


@pytest.mark.parametrize(("rate", "counts"), [(0.5, [4, 2]), (0.7, [6, 5]), (0.2, [2, 1])])
@pytest.mark.parametrize("training", [True, False])
def test_the_share_that_is_kept_is_the_rate_rounded_up(rate, counts, training):
    model = make_model(rate=rate, layers=(1, 2)).train(training)
    assert model.token_counts == counts
    for layer, count in zip(model.trace(tiny_clip()), counts, strict=True):
        assert layer.shape[1] == count and torch.equal(layer.sum(1).max(-1).values, torch.ones(2))


def test_every_patch_is_kept_as_often_as_the_next():
    model = make_model().train()
    torch.manual_seed(0)
    kept = model.trace(tiny_clip(512))[-1].sum((0, 1)) / 512
    assert (kept - 0.5).abs().max() < 0.09  # four standard deviations of 512 fair draws


def test_a_smaller_budget_keeps_a_part_of_what_a_larger_one_keeps():
    model, clip = make_model(), tiny_clip(1)
    kept = []
    for rate in (0.25, 0.5, 0.75):
        model.set_budget(rate)
        kept += kept_patches(model, clip)
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize("training", [True, False])
def test_steps_of_a_divided_model_keep_the_same_sites(training):
    model = make_model("timesformer divided").train(training)
    sites = model.trace(tiny_clip())[-1].sum(1).unflatten(1, (4, 4))  # [B, t, S]
    assert torch.equal(sites, sites[:, :1].expand_as(sites)) and torch.equal(sites.sum(-1), torch.full((2, 4), 2.0))


def test_lots_never_tie_in_low_precision():
    model = tiny_model("vivit", frames=8, size=256, compressor="random").to(torch.bfloat16)
    lots = model.encoder.blocks[1].reducer.lots
    assert len(lots) == 4 * 16 * 16 and len(lots.unique()) == len(lots)


def test_lots_are_no_weights():
    assert tiny_model("vit").state_dict().keys() == tiny_model("vit", compressor="random").state_dict().keys()
