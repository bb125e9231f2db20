import pytest
import torch

from tests.reference.lookup import lookup_block
from vidtok.compress.lookup import Lookup, LookupStem
from vidtok.compress.plan import LayerFactory
from vidtok.config import LookupConfig
from vidtok.errors import ConfigError
from vidtok.models.build import create_model
from vidtok.nn.embed import resize_matrix
from vidtok.nn.tokens import TokenGrid, Tokens

GRID = TokenGrid.lattice(1, 4, 4)


def make_factory(grid: TokenGrid = GRID) -> LayerFactory:
    return LayerFactory(
        depth=2, dim=12, num_heads=3, grid=grid, role="spatial", mlp_ratio=4, gelu="erf", norm_eps=1e-6, drop_path=0.0
    )


def make_layer(*, write_back: bool = True, **options) -> Lookup:
    torch.manual_seed(0)
    factory = make_factory()
    layer = Lookup(factory.block(0), factory, LookupConfig(**options), write_back=write_back).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer


def run(layer: Lookup, compressed: torch.Tensor, lookup: torch.Tensor) -> Tokens:
    with torch.no_grad():
        return layer(Tokens(compressed, TokenGrid.lattice(1, 2, 2), 0, lookup=lookup, lookup_grid=GRID))


@pytest.mark.parametrize("reuse", ["post", "pre", "recompute"])
@pytest.mark.parametrize("projections", [True, False])
def test_a_block_equals_slow_loops_written_from_the_formulas(reuse, projections):
    layer = make_layer(reuse=reuse, wo=projections, wo2=projections)
    compressed, lookup = torch.randn(2, 4, 12), torch.randn(2, 16, 12)
    ours = run(layer, compressed, lookup)
    for sample in range(2):
        with torch.no_grad():
            theirs = lookup_block(layer, compressed[sample], lookup[sample])
        torch.testing.assert_close(ours.x[sample], theirs[0], rtol=1e-4, atol=1e-4)  # float32 sums in another order
        torch.testing.assert_close(ours.lookup[sample], theirs[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["after", "before"])
def test_without_infusion_and_lookup_mlp_the_lookup_stream_is_untouched(norm):
    layer = make_layer(norm=norm)
    for linear in (layer.infuse.proj, layer.infuse.mlp.fc2):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    lookup = torch.randn(2, 16, 12)
    assert torch.equal(run(layer, torch.randn(2, 4, 12), lookup).lookup, lookup)


def test_lookup_tokens_never_attend_to_each_other():
    layer = make_layer(reuse="pre")
    compressed, lookup = torch.randn(1, 4, 12), torch.randn(1, 16, 12)
    with torch.no_grad():  # with the gather silenced, one lookup token can only change itself
        torch.nn.init.zeros_(layer.gather.proj.weight)
    other = lookup.clone()
    other[:, 3] += 1
    moved = (run(layer, compressed, lookup).lookup - run(layer, compressed, other).lookup).abs().amax((0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [3]


def test_a_grid_as_large_as_the_lattice_starts_both_streams_equal():
    x = torch.randn(2, 16, 12)
    tokens = LookupStem(GRID, (4, 4))(Tokens(x, GRID, 0))
    assert torch.equal(tokens.x, x) and torch.equal(tokens.lookup, x)


def test_resizing_after_positions_equals_resizing_features_and_positions_apart():
    features, positions = torch.randn(1, 16, 12), torch.randn(1, 16, 12)
    stem = LookupStem(GRID, (2, 3))

    def resized(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ah,bw,xhwd->xabd", resize_matrix(4, 2), resize_matrix(4, 3), x.unflatten(1, (4, 4)))

    ours = stem(Tokens(features + positions, GRID, 0)).x
    torch.testing.assert_close(ours, (resized(features) + resized(positions)).flatten(1, 2))


def test_post_reuse_gives_each_lookup_token_a_share_that_averages_m_over_n():
    layer = make_layer(reuse="post", wo2=False)
    torch.nn.init.zeros_(layer.infuse.norm_v.weight)
    torch.nn.init.ones_(layer.infuse.norm_v.bias)  # every value is 1: the infusion adds the row sums of A^T
    torch.nn.init.zeros_(layer.infuse.mlp.fc2.weight)
    torch.nn.init.zeros_(layer.infuse.mlp.fc2.bias)
    lookup = torch.randn(1, 16, 12)
    shares = run(layer, torch.randn(1, 4, 12), lookup).lookup - lookup
    torch.testing.assert_close(shares.mean(1), torch.full((1, 12), 4 / 16), rtol=0, atol=1e-5)


@pytest.mark.parametrize("budget", [(5, 5), (0, 2), (2, 2, 2, 2), 0.5, (2, 4, 4)])
def test_a_budget_that_is_not_a_grid_within_the_lattice_is_refused(budget):
    model = create_model("vit_ti_16", image_size=64, num_classes=3, compressor="lookup", budget=(2, 2))
    with pytest.raises(ConfigError, match="lookup budget"):
        model.set_budget(budget)
    assert model.budget == (2, 2) and model.token_counts[0] == (4, 16)


def test_without_a_lookup_head_the_last_block_does_not_write_back():
    model = create_model("vit_ti_16", image_size=64, compressor=LookupConfig(budget=(2, 2), loss_weights=(1, 0)))
    assert model.lookup_head is None
    assert [layer.infuse is None for layer in model.encoder.blocks[1:]] == [False] * 11 + [True]
