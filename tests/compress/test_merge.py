import pytest
import torch

from tests.compress.layers import CLOSE, DIM, make_factory, randomise
from tests.models.tiny import perturb, tiny_clip, tiny_model
from tests.reference.merge import groups_of, merge_block
from vidtok.compress.merge import MergeSimilar, match
from vidtok.config import MergeConfig
from vidtok.nn.blocks import Block
from vidtok.nn.tokens import TokenGrid, Tokens


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def make_block(pool: str, rate: float) -> Block:
    factory = make_factory(1, 3, 3, pool=pool)
    return randomise(factory.block(0, reducer=MergeSimilar(factory, MergeConfig(budget=rate))))


@pytest.mark.parametrize(("pool", "num_prefix"), [("cls", 1), ("mean", 0)])
@pytest.mark.parametrize(("rate", "num_merged"), [(0.5, 4), (0.7, 2), (0.88, 1)])
@pytest.mark.parametrize("sized", [True, False])
def test_a_block_equals_slow_loops_written_from_the_formulas(pool, num_prefix, rate, num_merged, sized):
    block, x = make_block(pool, rate), torch.randn(2, num_prefix + 9, DIM)
    sizes = torch.randint(1, 5, (2, 9)).float() if sized else None
    with torch.no_grad():
        ours = block(Tokens(x, TokenGrid.lattice(1, 3, 3), num_prefix, size=sizes))
        for sample in range(2):
            before = sizes[sample].tolist() if sized else [1.0] * 9
            theirs, after = merge_block(block, x[sample], before, num_merged, num_prefix=num_prefix)
            torch.testing.assert_close(ours.x[sample], theirs, **CLOSE)
            assert ours.size[sample].tolist() == after


@pytest.mark.parametrize("num_tokens", [2, 7, 16, 33])
def test_the_matching_merges_the_pairs_of_slow_loops(num_tokens):
    keys = torch.randn(1, num_tokens, 4)
    for num_merged in range(1, num_tokens // 2 + 1):
        stay, leave, into = (index[0].tolist() for index in match(keys, num_merged))
        groups = {frozenset(group) for group in groups_of(keys[0], num_merged)}
        ours = {frozenset([2 * place + 1]) for place in stay}
        for place in range(0, num_tokens, 2):
            ours.add(frozenset([place, *(2 * a + 1 for a, b in zip(leave, into) if 2 * b == place)]))
        assert ours == groups and stay == sorted(stay)


@pytest.mark.parametrize("variant", ["vit", "vivit", "vivit_fe", "vivit_fsa", "timesformer divided", "videomae"])
def test_every_patch_is_in_exactly_one_token_in_every_layer(variant):
    model = tiny_model(variant, compressor={"kind": "merge", "budget": 0.5}, depth=4)
    perturb(model, 0.2)
    for source in model.trace(tiny_clip()):
        size = 1 / source.max(-1).values  # a token of n patches gives each 1 / n
        torch.testing.assert_close(source.sum(-1), torch.ones(source.shape[:2]))
        torch.testing.assert_close((source * size[..., None]).sum(1), torch.ones(2, source.shape[2]))
        torch.testing.assert_close(size.sum(1), torch.full((2,), float(source.shape[2])))


@pytest.mark.parametrize("variant", ["vit", "vit mean", "vit mean with cls", "videomae"])
def test_merging_identical_tokens_changes_no_answer(variant):
    """Proportional attention and the pooling by size count a merged token as often as its patches."""
    dense = tiny_model(variant, size=64, depth=3)  # 16 patches per step
    model = tiny_model(variant, size=64, depth=3, compressor={"kind": "merge", "budget": 0.75, "layers": (1,)})
    perturb(dense, 0.2)
    model.load_state_dict(dense.state_dict())
    encoder, num_prefix = model.encoder, model.encoder.num_prefix
    num_tokens = encoder.grid.num_tokens
    different = torch.randn(2, num_prefix + num_tokens, 16)
    x = different.clone()
    for first in range(num_prefix, num_prefix + num_tokens, 4):  # every other pair is two of the same
        x[:, first + 1] = x[:, first]
    torch.testing.assert_close(encoder(x), dense.encoder(x), rtol=1e-5, atol=1e-5)
    assert (encoder(different)[0] - dense.encoder(different)[0]).abs().max() > 1e-3
    assert encoder.run(x).size.unique().tolist() == [1.0, 2.0]


def test_steps_of_a_divided_model_merge_the_same_sites():
    model = tiny_model("vivit_fsa", compressor={"kind": "merge", "budget": 0.5}, depth=3)
    perturb(model, 0.2)
    steps = model.trace(tiny_clip())[-1].unflatten(1, (2, -1)).unflatten(3, (2, -1))  # [B, t, K, t, S]
    own = torch.stack([steps[:, step, :, step] for step in range(2)], dim=1)
    assert torch.equal(own, own[:, :1].expand_as(own))
    torch.testing.assert_close(own.sum(-1), torch.ones(own.shape[:3]))


def test_the_divided_reducer_compares_keys_averaged_over_steps():
    factory = make_factory(2, 2, 3, role="divided")
    reducer = MergeSimilar(factory, MergeConfig(budget=0.5))
    attn = randomise(factory.make_attn(DIM, num_heads=3))
    x, normed = torch.randn(1, 12, DIM), torch.randn(2, 6, DIM)
    _, heads = attn.with_heads(normed)
    ours = reducer(Tokens(x, factory.grid, 0), heads)
    groups = groups_of(heads.k.detach().mean((0, 1)), 3)
    expected = [x[0, [6 * step + site for site in group]].mean(0) for step in range(2) for group in groups]
    torch.testing.assert_close(ours.x[0], torch.stack(expected))
    assert (ours.grid.num_tokens, ours.grid.t) == (6, 2)
