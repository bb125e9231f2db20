import math

import torch

from vidtok.nn.attention import QueryValueBiasAttention
from vidtok.nn.embed import SinCosPositions, SpaceTimePositions, sincos_table


def test_the_fixed_table_is_the_sine_cosine_formula():
    table = sincos_table(5, 6)
    assert table.shape == (1, 5, 6)
    for row in range(5):
        for pair in range(3):
            angle = row / 10000 ** (2 * pair / 6)
            assert math.isclose(table[0, row, 2 * pair], math.sin(angle), abs_tol=1e-6)
            assert math.isclose(table[0, row, 2 * pair + 1], math.cos(angle), abs_tol=1e-6)


def test_the_fixed_table_is_no_weight_and_can_be_made_anew():
    positions = SinCosPositions(4, 6, num_prefix=0)
    assert list(positions.state_dict()) == [] and list(positions.parameters()) == []
    x = torch.randn(2, 4, 6)
    expected = positions(x)
    positions.to_empty(device="cpu").reset_buffers()
    assert torch.equal(positions(x), expected)


def test_space_time_positions_give_a_patch_its_place_and_step_and_cls_only_its_row():
    positions = SpaceTimePositions(6, 4, num_prefix=1, num_steps=3)
    torch.nn.init.normal_(positions.time_embed)
    torch.nn.init.normal_(positions.cls_token)
    x = torch.randn(2, 6, 4)
    out = positions(x)
    assert positions.pos_embed.shape == (1, 3, 4)
    torch.testing.assert_close(out[:, 0], (positions.cls_token[0] + positions.pos_embed[0, :1]).expand(2, -1))
    for step in range(3):
        for site in range(2):
            row = positions.pos_embed[0, 1 + site] + positions.time_embed[0, step]
            torch.testing.assert_close(out[:, 1 + 2 * step + site], x[:, 2 * step + site] + row)


def test_a_key_bias_changes_nothing_so_attention_without_one_is_complete():
    attn, x = QueryValueBiasAttention(8, num_heads=2), torch.randn(2, 5, 8)
    torch.nn.init.normal_(attn.q_bias)
    torch.nn.init.normal_(attn.v_bias)
    q, k, v = (x @ weight.T for weight in attn.qkv.weight.chunk(3))
    q, k, v = q + attn.q_bias, k + torch.randn(8), v + attn.v_bias  # any key bias
    heads = [
        torch.softmax(q[..., own] @ k[..., own].transpose(1, 2) / 2, dim=-1) @ v[..., own]
        for own in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(attn(x), attn.proj(torch.cat(heads, dim=-1)))
