from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.models.tiny import perturb
from vidtok.errors import GridError
from vidtok.nn.attention import Attention, AxialAttention
from vidtok.nn.blocks import DropPath
from vidtok.nn.divided import AxialBlock, DividedBlock, fold_steps, unfold_steps
from vidtok.nn.tokens import TokenGrid, Tokens

T, H, W, S, DIM, HEADS = 3, 2, 2, 4, 8, 2
GRID = TokenGrid.lattice(T, H, W)
STEP = torch.arange(T * S) // S
SITE = torch.arange(T * S) % S


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def make_block(*, temporal_fc: bool, order: str = "time_space") -> DividedBlock:
    block = DividedBlock(
        DIM,
        attn=Attention(DIM, num_heads=HEADS),
        num_heads=HEADS,
        order=order,
        temporal_fc=temporal_fc,
        mlp_hidden=16,
        gelu="erf",
        norm_eps=1e-6,
    )
    perturb(block, 0.3)
    return block.eval()


def masked_heads(attn: Attention, x: Tensor, allowed: Tensor) -> list[Tensor]:
    """Each head of dense attention, written out; query n may look at key m where allowed[n, m]."""
    maps = attn.qkv.weight.chunk(3), attn.qkv.bias.chunk(3)
    q, k, v = (x @ weight.T + bias for weight, bias in zip(*maps, strict=True))
    width = DIM // HEADS
    heads = []
    for head in range(HEADS):
        own = slice(head * width, (head + 1) * width)
        scores = q[..., own] @ k[..., own].transpose(-1, -2) / width**0.5
        heads.append(scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v[..., own])
    return heads


def masked_attention(attn: Attention, x: Tensor, allowed: Tensor) -> Tensor:
    return attn.proj(torch.cat(masked_heads(attn, x, allowed), dim=-1))


def test_timesformer_block_is_temporal_then_spatial_attention_with_cls_copied_and_averaged():
    block, x = make_block(temporal_fc=True), torch.randn(2, 1 + T * S, DIM)
    cls, patches = x[:, :1], x[:, 1:]
    same_site = SITE[:, None] == SITE[None]
    patches = patches + block.temporal_fc(
        masked_attention(block.temporal_attn, block.temporal_norm1(patches), same_site)
    )
    outputs, everything = [], torch.ones(1 + S, 1 + S, dtype=torch.bool)
    for step in range(T):
        frame = torch.cat([cls, patches[:, step == STEP]], dim=1)
        outputs.append(masked_attention(block.attn, block.norm1(frame), everything))
    new_cls = cls + sum(output[:, :1] for output in outputs) / T
    middle = torch.cat([new_cls, patches + torch.cat([output[:, 1:] for output in outputs], dim=1)], dim=1)
    expected = middle + block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(Tokens(x, GRID, 1)).x, expected)


@pytest.mark.parametrize("order", ["time_space", "space_time"])
def test_vivit_model_3_block_is_two_masked_attentions_in_the_given_order(order):
    block, x = make_block(temporal_fc=False, order=order), torch.randn(2, T * S, DIM)
    halves = {
        "time": (block.temporal_norm1, block.temporal_attn, SITE[:, None] == SITE[None]),
        "space": (block.norm1, block.attn, STEP[:, None] == STEP[None]),
    }
    middle = x
    for half in order.split("_"):
        norm, attn, allowed = halves[half]
        middle = middle + masked_attention(attn, norm(middle), allowed)
    expected = middle + block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(Tokens(x, GRID, 0)).x, expected)


def test_vivit_model_4_attends_along_time_with_the_first_half_of_the_heads_and_space_with_the_rest():
    attn, x = AxialAttention(DIM, num_heads=HEADS), torch.randn(2, T * S, DIM)
    along_time = masked_heads(attn, x, SITE[:, None] == SITE[None])
    along_space = masked_heads(attn, x, STEP[:, None] == STEP[None])
    expected = attn.proj(torch.cat([along_time[0], along_space[1]], dim=-1))
    torch.testing.assert_close(attn(x, T), expected)


def test_folding_and_unfolding_steps_are_inverse():
    x = torch.randn(2, 1 + T * S, DIM)
    frames = fold_steps(x, T, 1)
    assert frames.shape == (2 * T, 1 + S, DIM)
    assert torch.equal(frames[:T, 0], x[0, :1].expand(T, -1))
    torch.testing.assert_close(unfold_steps(frames, T, 1), x)


def test_stochastic_depth_acts_per_step_along_space_and_per_site_along_time():
    block = make_block(temporal_fc=True).train()
    block.drop_path = DropPath(0.5)
    for attn in (block.attn, block.temporal_attn):  # a branch of ones, doubled where it is kept
        nn.init.zeros_(attn.proj.weight)
        nn.init.ones_(attn.proj.bias)
    nn.init.eye_(block.temporal_fc.weight)
    nn.init.constant_(block.temporal_fc.bias, 10.0)
    x = torch.zeros(64, T * S, DIM)
    tokens = Tokens(x, GRID, 0)
    along_space = block.attend(x, tokens)[0].unflatten(1, (T, S))
    assert set(along_space.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(along_space, along_space[:, :, :1, :1].expand_as(along_space))
    along_time = block.mix_time(tokens).x.unflatten(1, (T, S))
    assert set(along_time.unique().tolist()) == {10.0, 12.0}  # the bias of temporal_fc survives a drop
    assert torch.equal(along_time, along_time[:, :1, :, :1].expand_as(along_time))


@pytest.mark.parametrize("temporal_fc", [True, False])
def test_zero_time_leaves_the_spatial_half_alone(temporal_fc):
    block, x = make_block(temporal_fc=temporal_fc), torch.randn(2, T * S, DIM)
    block.zero_time()
    assert torch.equal(block.mix_time(Tokens(x, GRID, 0)).x, x)
    assert block.temporal_attn.qkv.weight.abs().min() > 0


def test_blocks_refuse_tokens_whose_times_or_places_are_lost():
    mixed, scattered = TokenGrid(5, None, None), TokenGrid(6, 3, None)
    block = make_block(temporal_fc=False)
    axial = partial(AxialBlock, DIM, mlp_hidden=16, gelu="erf", norm_eps=1e-6)
    with pytest.raises(GridError, match="divided attention needs tokens that belong to one time step"):
        block.out_grid(mixed)
    assert block.out_grid(GRID) == GRID
    with pytest.raises(GridError, match="factorised dot-product attention needs tokens on a lattice"):
        axial(attn=AxialAttention(DIM, num_heads=HEADS)).out_grid(scattered)
