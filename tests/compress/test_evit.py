from dataclasses import replace

import pytest
import torch

from tests.compress.layers import CLOSE, DIM, HEADS, make_factory, randomise
from tests.models.tiny import tiny_clip, tiny_model
from tests.reference.evit import evit_block, reorganise, scores_of
from vidtok.compress.evit import KeepAttended
from vidtok.config import ClipConfig, EViTConfig, ModelConfig, from_tree
from vidtok.models.build import build_model
from vidtok.nn.attention import Heads
from vidtok.nn.blocks import Block
from vidtok.nn.tokens import Tokens


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def make_block(pool: str, *, rate: float = 0.5, fuse: bool = True) -> Block:
    factory = make_factory(1, 3, 3, pool=pool)
    return randomise(factory.block(0, reducer=KeepAttended(factory, EViTConfig(budget=rate, fuse=fuse))))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(("pool", "num_prefix"), [("cls", 1), ("mean", 0)])
@pytest.mark.parametrize(("rate", "num_kept"), [(0.5, 5), (0.7, 7), (0.1, 1)])
def test_a_block_and_its_gradient_equal_slow_loops_written_from_the_formulas(pool, num_prefix, rate, num_kept, fuse):
    block = make_block(pool, rate=rate, fuse=fuse)
    ours_in = torch.randn(2, num_prefix + 9, DIM, requires_grad=True)
    theirs_in = ours_in.detach().clone().requires_grad_()
    ours = block(Tokens(ours_in, make_factory(1, 3, 3).grid, num_prefix)).x
    theirs = [evit_block(block, x, num_kept, num_prefix=num_prefix, fuse=fuse) for x in theirs_in]
    torch.testing.assert_close(ours, torch.stack(theirs), **CLOSE)
    direction = torch.randn_like(ours)
    (ours * direction).sum().backward()
    weight_grad, block.attn.qkv.weight.grad = block.attn.qkv.weight.grad, None
    (torch.stack(theirs) * direction).sum().backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, **CLOSE)
    torch.testing.assert_close(weight_grad, block.attn.qkv.weight.grad, rtol=1e-3, atol=1e-3)  # sums of 200 terms


@pytest.mark.parametrize("fuse", [True, False])
def test_scores_carry_a_gradient_through_the_fused_token_alone(fuse):
    reducer = make_block("cls", fuse=fuse).reducer
    heads = Heads(*(torch.randn(2, HEADS, 10, 4, requires_grad=True) for _ in "qk"))
    out = reducer(Tokens(torch.randn(2, 10, DIM), make_factory(1, 3, 3).grid, 1), heads)
    assert out.x.requires_grad == fuse
    if fuse:
        out.x.sum().backward()
        assert all(part.grad.abs().max() > 0 for part in heads)


COUNTS = {
    0.9: ((178, 162, 147), (177, 160, 144)),
    0.8: ((158, 128, 104), (157, 126, 101)),
    0.7: ((139, 99, 71), (138, 97, 68)),
    0.6: ((119, 73, 45), (118, 71, 43)),
    0.5: ((99, 51, 27), (98, 49, 25)),
}


@pytest.mark.parametrize("fuse", [True, False])
def test_token_counts_of_deit_equal_those_of_the_official_code_at_every_keep_rate(fuse):
    compressor = {"kind": "evit", "fuse": fuse}
    config = from_tree(ModelConfig, {"backbone": "vit_ti_16", "compressor": compressor})
    with torch.device("meta"):
        model = build_model(config, ClipConfig(frames=1, size=224), num_classes=10)
    for rate, counts in COUNTS.items():
        model.set_budget(rate)
        first, second, third = counts[0 if fuse else 1]
        assert model.token_counts == [196] * 3 + [first] * 3 + [second] * 3 + [third] * 3


@pytest.mark.parametrize("num_prefix", [0, 1])
def test_divided_attention_gets_one_keep_set_for_all_steps_and_a_fused_token_per_step(num_prefix):
    pool = "cls" if num_prefix else "mean"
    factory = make_factory(2, 2, 3, role="divided", pool=pool)
    reducer = KeepAttended(factory, EViTConfig(budget=0.5))
    attn = randomise(factory.make_attn(DIM, num_heads=HEADS))
    x, normed = torch.randn(2, num_prefix + 12, DIM), torch.randn(4, num_prefix + 6, DIM)  # steps of two samples
    _, heads = attn.with_heads(normed)
    ours = reducer(Tokens(x, factory.grid, num_prefix), heads)
    for sample in range(2):
        steps = [scores_of(attn, normed[2 * sample + step], num_prefix) for step in range(2)]
        scores = [(first + second) / 2 for first, second in zip(*steps)]
        patches = x[sample, num_prefix:].split(6)
        expected = torch.cat([x[sample, :num_prefix], *(reorganise(p, scores, 3, fuse=True) for p in patches)])
        torch.testing.assert_close(ours.x[sample], expected, **CLOSE)
    assert (ours.grid.num_tokens, ours.grid.t, ours.grid.hw) == (8, 2, None)


def test_steps_of_a_divided_model_keep_the_same_sites_in_the_same_order():
    model = tiny_model("timesformer divided", compressor={"kind": "evit", "budget": 0.5, "fuse": False}, depth=3)
    steps = model.trace(tiny_clip())[-1].unflatten(1, (4, -1)).unflatten(3, (4, -1))  # [B, t, K, t, S]
    own = torch.stack([steps[:, step, :, step] for step in range(4)], dim=1)
    assert torch.equal(own.sum(-1), torch.ones_like(own.sum(-1)))
    assert torch.equal(own, own[:, :1].expand_as(own))


def test_a_trace_names_each_kept_patch_once_and_gives_the_fused_token_all_others():
    model = tiny_model("vivit", compressor={"kind": "evit", "budget": 0.5, "layers": (1,)})
    source = model.trace(tiny_clip())[0]  # 8 patches: 4 kept, 1 fused
    kept, fused = source[:, :4], source[:, 4]
    assert torch.equal(kept.max(-1).values, torch.ones(2, 4)) and torch.equal(kept.sum(-1), torch.ones(2, 4))
    assert torch.equal(kept.sum(1) == 0, fused > 0)
    torch.testing.assert_close(fused.sum(-1), torch.ones(2))


def test_tracing_does_not_change_what_is_computed():
    block, grid = make_block("cls"), make_factory(1, 3, 3).grid
    tokens = Tokens(torch.randn(2, 10, DIM), grid, 1)
    traced = block(replace(tokens, source=torch.eye(9).expand(2, -1, -1)))
    assert torch.equal(traced.x, block(tokens).x)
