import pytest
import torch

from tests.compress.layers import CLOSE, DIM, make_factory, randomise
from tests.models.tiny import perturb, tiny_clip, tiny_model
from tests.reference.semantic import adaptive_centres, generate, pooled_centres
from vidtok.compress.plan import LayerFactory
from vidtok.compress.semantic import FirstGeneration, SecondGeneration, WindowPool, plan_semantic, window_starts
from vidtok.config import SemanticConfig
from vidtok.errors import ConfigError
from vidtok.nn.tokens import Tokens


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def make_pool(hw: tuple[int, int], lattice: tuple[int, int], kind: str = "intra") -> WindowPool:
    return randomise(WindowPool(DIM, hw, lattice, kind=kind, eps=1e-6))


def make_layers(factory: LayerFactory, **options) -> tuple[FirstGeneration, SecondGeneration]:
    config = SemanticConfig(**({"budget": (2, 2), "centres": (2, 2)} | options))
    return tuple(
        randomise(layer(factory.block(number), factory, config))
        for number, layer in enumerate((FirstGeneration, SecondGeneration), start=1)
    )


@torch.no_grad()
def run(layers: tuple[FirstGeneration, SecondGeneration], factory: LayerFactory, x: torch.Tensor) -> list[Tokens]:
    first = layers[0](Tokens(x, factory.grid, 0))
    return [first, layers[1](first)]


WINDOWS = [
    ((14, 14), (4, 4)),
    ((14, 14), (6, 6)),
    ((7, 7), (3, 3)),
    ((5, 4), (2, 2)),
    ((6, 4), (2, 2)),
    ((3, 3), (1, 2)),
]


@pytest.mark.parametrize(("hw", "lattice"), WINDOWS)
@pytest.mark.parametrize("kind", ["intra", "inter"])
def test_pooled_centres_equal_slow_loops_written_from_the_formulas(hw, lattice, kind):
    pool, picture = make_pool(hw, lattice, kind), torch.randn(1, *hw, DIM)
    with torch.no_grad():
        theirs = pooled_centres(pool, picture[0], lattice)
        torch.testing.assert_close(pool(picture.flatten(1, 2))[0], theirs, **CLOSE)


@pytest.mark.parametrize(("hw", "lattice"), WINDOWS)
def test_adaptive_pooling_takes_the_largest_values_of_bins_and_has_no_parameters(hw, lattice):
    pool, picture = WindowPool(DIM, hw, lattice, kind="adaptive", eps=1e-6), torch.randn(1, *hw, DIM)
    assert torch.equal(pool(picture.flatten(1, 2))[0], adaptive_centres(picture[0], lattice))
    assert list(pool.parameters()) == []


@pytest.mark.parametrize("kind", ["intra", "inter", "adaptive"])
def test_with_a_centre_per_token_the_pooled_centres_are_the_tokens(kind):
    x = torch.randn(2, 12, DIM)
    torch.testing.assert_close(make_pool((3, 4), (3, 4), kind)(x), x)


@pytest.mark.parametrize("kind", ["intra", "inter"])
@pytest.mark.parametrize(("hw", "lattice"), WINDOWS)
def test_centres_of_equal_tokens_are_that_token_whatever_lies_beyond_the_border(hw, lattice, kind):
    x = torch.randn(1, 1, DIM).expand(1, hw[0] * hw[1], DIM)
    centres = make_pool(hw, lattice, kind)(x)
    torch.testing.assert_close(centres, x[:, :1].expand_as(centres), rtol=1e-5, atol=1e-5)


def test_windows_cover_the_picture_and_each_sees_a_part_of_it():
    for size in range(1, 25):
        for count in range(1, size + 1):
            width, starts = window_starts(size, count)
            windows = [set(range(start, start + width)) & set(range(size)) for start in starts]
            assert len(starts) == count and starts == sorted(set(starts)) and all(windows), (size, count)
            assert set.union(*windows) == set(range(size)), (size, count)


def test_windows_of_deit_are_the_authors_4_of_4_around_14_patches():
    assert window_starts(14, 4) == (4, [-1, 3, 7, 11])


@pytest.mark.parametrize(("keys", "steps"), [("frame", 2), ("joint", 1)])
def test_generation_equals_slow_loops_written_from_the_formulas(keys, steps):
    factory = make_factory(2, 3, 4)
    layers, x = make_layers(factory, keys=keys), torch.randn(1, 24, DIM)
    first, second = run(layers, factory, x)
    with torch.no_grad():
        centres = [pooled_centres(layers[0].pool, frame.unflatten(0, (3, 4)), (2, 2)) for frame in x[0].split(12)]
        images = x[0].chunk(steps)
        semantic = [generate(layers[0].block, *pair) for pair in zip(torch.cat(centres).chunk(steps), images)]
        torch.testing.assert_close(first.x[0], torch.cat(semantic), **CLOSE)
        learned = layers[1].centres[0].repeat(2, 1).chunk(steps)
        semantic = [generate(layers[1].block, *parts) for parts in zip(first.x[0].chunk(steps), images, learned)]
        torch.testing.assert_close(second.x[0], torch.cat(semantic), **CLOSE)


@pytest.mark.parametrize("keys", ["frame", "joint"])
def test_with_keys_of_its_own_frame_a_semantic_token_does_not_see_the_others(keys):
    factory = make_factory(2, 3, 4)
    layers, x = make_layers(factory, keys=keys), torch.randn(1, 24, DIM)
    other = x.clone()
    other[:, 12:] += 1
    for one, two in zip(run(layers, factory, x), run(layers, factory, other)):
        assert torch.equal(one.x[:, :4], two.x[:, :4]) == (keys == "frame")
        assert not torch.equal(one.x[:, 4:], two.x[:, 4:])


def test_image_tokens_pass_the_first_generation_layer_unchanged_and_end_in_the_second():
    factory = make_factory(2, 3, 4)
    x = torch.randn(1, 24, DIM)
    first, second = run(make_layers(factory), factory, x)
    assert first.lookup is x and second.lookup is None
    assert first.grid == second.grid == factory.grid.lattice(2, 2, 2)


@pytest.mark.parametrize("variant", ["vivit_fsa", "vivit_fsa space first", "timesformer divided"])
def test_divided_models_whose_temporal_half_is_silent_generate_as_the_image_model(variant):
    """Fresh divided blocks are their spatial half, so every step of a still is the picture."""
    compressor = {"kind": "semantic", "budget": (2, 2), "centres": (2, 2)}
    video = tiny_model(variant, compressor=compressor, depth=4, size=48)
    gelu = video.config.backbone.gelu
    image = tiny_model({"kind": "vit", "pool": "mean", "gelu": gelu}, compressor=compressor, depth=4, size=48, frames=1)
    for name, parameter in image.named_parameters():
        torch.nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.2)
    own = image.encoder.state_dict()
    assert video.encoder.load_state_dict(own, strict=False).unexpected_keys == []
    x, steps = torch.randn(2, 9, 16), video.lattice[0]
    torch.testing.assert_close(video.encoder(x.repeat(1, steps, 1)), image.encoder(x), rtol=1e-5, atol=1e-5)


def test_global_centres_at_their_own_lattice_are_added_as_they_are_and_resized_elsewhere():
    _, second = make_layers(make_factory(1, 4, 4), centres=(2, 2))
    torch.testing.assert_close(second.resize(second.centres), second.centres, rtol=0, atol=0)
    second.set_budget((4, 4))
    corners = second.resize(second.centres).unflatten(1, (4, 4))[:, ::3, ::3].flatten(1, 2)
    torch.testing.assert_close(corners, second.centres)  # linear resize with half-pixel centres keeps the corners


def test_the_offset_across_windows_fixes_the_lattice():
    model = tiny_model("vit", compressor={"kind": "semantic", "budget": (2, 2), "pooling": "inter"}, depth=3, size=64)
    model.set_budget((2, 2))
    with pytest.raises(ConfigError, match="pooling 'inter' .* fixes the budget at 2x2"):
        model.set_budget((3, 3))
    assert model.budget == (2, 2) and model.token_counts == [64, 16, 16]


@pytest.mark.parametrize("budget", [(5, 4), (0, 2), (2, 2, 2), 0.5])
def test_a_budget_that_is_no_lattice_within_the_patches_of_a_step_is_refused(budget):
    model = tiny_model("vit", compressor={"kind": "semantic", "budget": (2, 2)}, depth=3, size=64)
    with pytest.raises(ConfigError, match="semantic budget .* within 4x4"):
        model.set_budget(budget)
    assert model.budget == (2, 2)


@pytest.mark.parametrize(("depth", "generating"), [(3, [1, 2]), (12, [4, 5]), (24, [8, 9])])
def test_the_two_generation_layers_come_after_a_third_of_the_depth(depth, generating):
    plan = plan_semantic(make_factory(1, 4, 4, depth=depth), SemanticConfig())
    layers = [number for number, block in enumerate(plan.modules) if hasattr(block, "generate")]
    assert layers == generating and len(plan.modules) == depth and (plan.num_prefix, plan.readout) == (0, "mean")


@pytest.mark.parametrize("variant", ["vit", "vivit_fe", "vivit_fdp", "timesformer divided"])
def test_keys_of_all_time_steps_are_refused_where_attention_sees_one_at_a_time(variant):
    with pytest.raises(ConfigError, match="keys 'joint' needs a backbone .* use 'frame'"):
        tiny_model(variant, compressor={"kind": "semantic", "budget": (2, 2), "keys": "joint"}, depth=3)


def test_an_encoder_of_two_layers_is_refused():
    with pytest.raises(ConfigError, match="needs 3 layers or more, this encoder has 2"):
        plan_semantic(make_factory(1, 4, 4, depth=2), SemanticConfig())


@pytest.mark.parametrize("keys", ["frame", "joint"])
def test_a_trace_resolves_semantic_tokens_into_patches(keys):
    options = {"kind": "semantic", "budget": (2, 2), "centres": (2, 2), "keys": keys}
    model = tiny_model("vivit", compressor=options, depth=4, size=48)
    perturb(model, 0.3)
    sources = model.trace(tiny_clip(size=48))
    assert [source.shape for source in sources] == [(2, 18, 18)] + [(2, 8, 18)] * 3
    for source in sources:
        torch.testing.assert_close(source.sum(-1), torch.ones(source.shape[:2]))
    across = sources[2].unflatten(1, (2, 4)).unflatten(3, (2, 9))[:, 0, :, 1]  # first step's tokens, second's patches
    assert (across.abs().max() == 0) == (keys == "frame")
