"""What every pair of backbone and compressor must do, over the whole support table."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.models.tiny import VARIANTS, perturb, tiny_clip, tiny_model
from vidtok.compress.support import SUPPORT
from vidtok.config import ModelConfig, from_tree, parse_budget
from vidtok.errors import ConfigError
from vidtok.models.backbones import VideoModel
from vidtok.models.build import PLANS, refusal
from vidtok.models.checkpoint import load, save_pretrained
from vidtok.nn.embed import resize_matrix

SIZE = 64
"""Side of the clips [pixels]: 4 x 4 patches."""

# Compressor with its options -> budgets that it is tried at, the one it is built with first.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "none": ({}, ()),
    "lookup": ({"kind": "lookup"}, ("2x2", "3x2", "1x1")),
    "lookup pre": ({"kind": "lookup", "reuse": "pre"}, ("2x2", "4x4")),
    "lookup recompute": ({"kind": "lookup", "reuse": "recompute", "norm": "before"}, ("2x2",)),
    "lookup alone": ({"kind": "lookup", "loss_weights": (1, 0)}, ("2x2",)),
    "semantic": ({"kind": "semantic", "centres": "2x2"}, ("2x2", "3x3", "4x4")),
    "semantic inter": ({"kind": "semantic", "pooling": "inter", "centres": "2x2"}, ("2x2",)),
    "semantic adaptive": ({"kind": "semantic", "pooling": "adaptive", "centres": "4x4"}, ("3x3", "2x2")),
    "semantic joint keys": ({"kind": "semantic", "keys": "joint"}, ("3x3",)),
    "evit": ({"kind": "evit"}, ("0.7", "0.5", "1")),
    "evit without fusing": ({"kind": "evit", "fuse": False}, ("0.6",)),
    "supertoken": ({"kind": "supertoken"}, ("2x2", "3x3", "1x1")),
    "supertoken masked": ({"kind": "supertoken", "border_mask": True, "layers": (1,)}, ("2x2",)),
    "merge": ({"kind": "merge"}, ("0.7", "0.5", "1")),
    "random": ({"kind": "random"}, ("0.7", "0.5", "1")),
}


def make(variant: str, case: str, budget: str | None = None, **fields: Any) -> VideoModel:
    options, budgets = CASES[case]
    compressor = {"kind": "none"} if not options else {**options, "budget": budget or budgets[0]}
    torch.manual_seed(0)
    model = tiny_model(variant, size=SIZE, compressor=compressor, **{"depth": 4, **fields})
    perturb(model)
    return model


def config_of(variant: str, case: str) -> ModelConfig:
    options, budgets = CASES[case]
    compressor = {**options, "budget": budgets[0]} if options else "none"
    return from_tree(ModelConfig, {"backbone": VARIANTS[variant], "compressor": compressor})


def is_allowed(variant: str, case: str) -> bool:
    if case == "semantic joint keys" and variant != "vivit":
        return False
    return refusal(config_of(variant, case)) is None


OPTIONS_ON = ("vit mean", "vivit", "vivit_fdp", "timesformer divided")
"""Options of a compressor are tried on these; the compressors themselves on every variant."""

PAIRS = [
    (variant, case)
    for variant in VARIANTS
    for case in CASES
    if is_allowed(variant, case) and (case in SUPPORT or variant in OPTIONS_ON)
]
REFUSED = [(variant, case) for variant in VARIANTS for case in CASES if refusal(config_of(variant, case))]
pairs = pytest.mark.parametrize(("variant", "case"), PAIRS)
GRAPHED = {("vivit", "evit"), ("vivit_fe", "lookup"), ("timesformer divided", "merge"), ("videomae", "semantic")}
GRAPHED |= {("vit", "supertoken"), ("timesformer space", "random"), ("vivit_fdp", "lookup pre")}
"""Pairs that are exported in every run of the tests; the others are slow."""
COMPILED = {("vivit_fe", "lookup"), ("vivit", "evit")}
"""Those that are compiled as well, which takes three times as long."""


def quick(pairs: set[tuple[str, str]]) -> pytest.MarkDecorator:
    """All pairs, of which those named are in every run."""
    return pytest.mark.parametrize(
        ("variant", "case"),
        [pytest.param(*pair, marks=() if pair in pairs else pytest.mark.slow) for pair in PAIRS],
    )


def test_the_table_has_every_compressor_of_the_registry_and_every_layout():
    assert SUPPORT.keys() == {config.model_fields["kind"].default for config in PLANS}
    assert len({tuple(row) for row in SUPPORT.values()}) == 1
    assert SUPPORT.keys() <= {case.partition(" ")[0] for case in CASES}


@pytest.mark.parametrize(("variant", "case"), REFUSED)
def test_a_refused_pair_says_why_and_what_works(variant: str, case: str):
    config = config_of(variant, case)
    reason = SUPPORT[config.compressor.kind][config.backbone.layout].note
    with pytest.raises(ConfigError) as caught:
        make(variant, case)
    assert reason in str(caught.value) and "choose one of none, lookup" in str(caught.value)


@pairs
def test_token_counts_are_planned_right_and_every_patch_is_traced(variant: str, case: str):
    model = make(variant, case)
    seen: list[int] = []
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda _, __, tokens: seen.append(tokens.x.shape[1] - tokens.num_prefix))
        block.register_forward_hook(lambda _, __, tokens: seen.append(tokens.grid.num_tokens))
    clip = tiny_clip(size=SIZE)
    assert model(clip).shape == (2, 3)
    assert seen[::2] == seen[1::2] == [grid.num_tokens for grid in model.encoder.grids]
    sources = model.trace(clip)
    num_patches = 16 * model.lattice[0]
    planned = [count[0] if isinstance(count, tuple) else count for count in model.token_counts]
    for source, count in zip(sources, planned, strict=True):
        assert source.shape[::2] == (2, num_patches) and source.min() >= 0
        assert source.shape[1] == count or case.startswith("supertoken")
        torch.testing.assert_close(source.sum(-1), torch.ones(source.shape[:2]))


@pairs
def test_every_parameter_learns(variant: str, case: str):
    model = make(variant, case).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    clip, labels = tiny_clip(4, size=SIZE), torch.tensor([0, 1, 2, 0])
    for _ in range(2):
        optimizer.zero_grad()
        heads = model.forward_heads(clip)
        sum(nn.functional.cross_entropy(head, labels) for head in heads).backward()
        optimizer.step()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    still = {
        name
        for name, parameter in model.named_parameters()
        if not (parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0)
    }
    assert still == set()


@pairs
def test_eval_repeats_exactly_and_bfloat16_agrees_roughly(variant: str, case: str):
    model, clip = make(variant, case), tiny_clip(size=SIZE)
    with torch.inference_mode():
        first = model(clip)
        assert torch.equal(model(clip), first)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(clip)
        assert rough.isfinite().all()
        plain = model.to(torch.bfloat16)(clip.to(torch.bfloat16))
        assert plain.isfinite().all()
    if case.partition(" ")[0] not in ("evit", "merge"):  # rounding may choose other tokens there
        torch.testing.assert_close(rough.float(), first, rtol=0.1, atol=0.1)


@pairs
def test_a_saved_model_loads_equal(variant: str, case: str, tmp_path):
    model, clip = make(variant, case), tiny_clip(size=SIZE)
    loaded = load(save_pretrained(model, tmp_path))
    assert loaded.config == model.config and loaded.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(loaded(clip), model(clip))


@pairs
def test_activation_checkpointing_changes_nothing(variant: str, case: str):
    model, clip = make(variant, case).train(), tiny_clip(size=SIZE)
    gradients = []
    for enabled in (False, True):
        model.set_grad_checkpointing(enabled)
        model.zero_grad()
        torch.manual_seed(1)
        model.forward_heads(clip).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize(
    ("variant", "case", "budget"),
    [(variant, case, budget) for variant, case in PAIRS for budget in CASES[case][1][1:]],
)
def test_a_budget_set_at_run_time_is_a_model_built_with_it(variant: str, case: str, budget: str):
    built, changed, clip = make(variant, case, budget), make(variant, case), tiny_clip(size=SIZE)
    changed.set_budget(parse_budget(budget))
    changed.load_state_dict(built.state_dict())
    assert changed.token_counts == built.token_counts
    assert torch.equal(changed(clip), built(clip))


@pytest.mark.parametrize("case", [case for case in CASES if len(CASES[case][1]) > 1])
def test_a_budget_set_in_inference_mode_can_be_trained_afterwards(case: str):
    """As a trainer does that validates at the model's own budget."""
    model = make("vivit", case)
    resize_matrix.cache_clear()
    with torch.inference_mode():
        model.set_budget(CASES[case][1][1])
    model.train().forward_heads(tiny_clip(size=SIZE)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.needs_cuda
@pairs
def test_it_trains_in_bfloat16_on_a_gpu(variant: str, case: str):
    model, clip = make(variant, case).cuda().train(), tiny_clip(size=SIZE).cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        heads = model.forward_heads(clip)
    heads.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@quick(COMPILED)
def test_it_compiles_to_one_graph(variant: str, case: str):
    model, clip = make(variant, case, depth=3, drop_path=0.1), tiny_clip(size=SIZE)
    torch._dynamo.reset()
    compiled = torch.compile(model.forward_heads, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip), model.forward_heads(clip))
    model.train()
    compiled(clip).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@quick(GRAPHED)
def test_it_exports_with_any_batch(variant: str, case: str):
    model = make(variant, case, depth=3)
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (tiny_clip(size=SIZE),), dynamic_shapes=shapes).module()
    for batch in (1, 2, 5):
        clip = tiny_clip(batch, size=SIZE)
        with torch.no_grad():
            torch.testing.assert_close(exported(clip), model(clip))


@pairs
def test_all_of_it_follows_the_device_context(variant: str, case: str):
    expected, clip = make(variant, case), tiny_clip(size=SIZE)
    with torch.device("meta"):
        model = make(variant, case)
    everything = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert {name for name, tensor in everything.items() if not tensor.is_meta} == set()
    model.to_empty(device="cpu").load_state_dict(expected.state_dict())
    assert torch.equal(model(clip), expected(clip))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch warns of its own code
@pytest.mark.parametrize(("variant", "case"), [("vivit", "evit"), ("vivit_fe", "lookup"), ("videomae", "semantic")])
def test_inductor_compiles_it(variant: str, case: str):
    model, clip = make(variant, case), tiny_clip(size=SIZE)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip), model(clip), rtol=1e-4, atol=1e-4)
