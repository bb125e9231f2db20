from dataclasses import replace

import torch

from vidtok.nn.attention import Attention, Heads
from vidtok.nn.blocks import Block, DropPath
from vidtok.nn.tokens import TokenGrid, Tokens


class KeepHalf(torch.nn.Module):
    """A reducer for the tests: keeps the first half of the tokens."""

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        return TokenGrid(grid.num_tokens // 2, grid.t, None)

    def forward(self, tokens: Tokens, heads: Heads) -> Tokens:
        assert heads.q.shape == heads.k.shape == (*tokens.x.shape[:1], 2, tokens.x.shape[1], 4)
        return replace(tokens, x=tokens.x[:, : tokens.grid.num_tokens // 2], grid=self.out_grid(tokens.grid))


def make_block(**options) -> Block:
    return Block(
        8, attn=Attention(8, num_heads=2), mlp_hidden=16, gelu="erf", norm_eps=1e-6, drop_path=0.0, **options
    ).eval()


def test_a_block_is_two_pre_norm_residual_branches():
    block, x = make_block(), torch.randn(2, 6, 8)
    middle = x + block.attn(block.norm1(x))
    expected = middle + block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(Tokens(x, TokenGrid.lattice(1, 2, 3), 0)).x, expected)


def test_attention_is_the_softmax_formula():
    attn, x = Attention(8, num_heads=2), torch.randn(1, 5, 8)
    q, k, v = attn.qkv(x)[0].reshape(5, 3, 2, 4).permute(1, 2, 0, 3)
    weights = torch.softmax(q @ k.transpose(1, 2) / 2.0, dim=-1)
    expected = attn.proj((weights @ v).transpose(0, 1).reshape(5, 8))
    torch.testing.assert_close(attn(x)[0], expected)


def test_a_reducer_acts_between_attention_and_mlp_and_its_dry_run_is_true():
    block, grid = make_block(reducer=KeepHalf()), TokenGrid.lattice(1, 2, 3)
    out = block(Tokens(torch.randn(2, 6, 8), grid, 0))
    assert out.x.shape[1] == block.out_grid(grid).num_tokens == out.grid.num_tokens == 3


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 2, 3))
    per_sample = out.flatten(1)
    assert torch.equal(per_sample.min(1).values, per_sample.max(1).values)
    assert abs(float(out.mean()) - 1) < 0.05  # three standard deviations are 0.03
    assert torch.equal(drop.eval()(out), out)
