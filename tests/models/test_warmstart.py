import pytest
import torch

import vidtok
from tests.models.tiny import VARIANTS, perturb, tiny_clip, tiny_model
from vidtok.config import ClipConfig, LookupConfig, ModelConfig, from_tree
from vidtok.errors import ConfigError
from vidtok.models.build import refusal
from vidtok.models.checkpoint import load
from vidtok.models.pretrained.start import start_from
from vidtok.models.warmstart import compress_model

SIZE = 64
FULL = {"evit": "1", "random": "1", "merge": "1", "supertoken": "1x1"}
"""Budgets at which nothing is compressed."""
KINDS = (*FULL, "lookup", "semantic")


def dense(variant: str = "vivit", **fields):
    torch.manual_seed(0)
    model = tiny_model(variant, depth=4, size=SIZE, **fields)
    model.class_names = ("a", "b", "c")
    perturb(model)
    return model


def allowed(variant: str, kind: str) -> bool:
    return refusal(from_tree(ModelConfig, {"backbone": VARIANTS[variant], "compressor": kind})) is None


@pytest.mark.parametrize(
    ("variant", "kind"), [(variant, kind) for variant in VARIANTS for kind in FULL if allowed(variant, kind)]
)
def test_at_the_full_budget_the_logits_are_the_dense_models(variant: str, kind: str):
    model, clip = dense(variant), tiny_clip(size=SIZE)
    compressed, report = compress_model(model, kind, budget=FULL[kind])
    assert torch.equal(compressed(clip), model(clip))
    assert not (report.adapted or report.new or report.unused) and len(report.loaded) == len(model.state_dict())
    assert compressed.class_names == model.class_names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", ["vit", "vivit", "vivit_fe", "timesformer divided", "videomae"])
def test_every_tensor_is_accounted_for_and_the_source_is_not_changed(variant: str, kind: str):
    model = dense(variant)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compressed, report = compress_model(model, kind, budget=None if kind in FULL else "2x2")
    names = [*report.loaded, *report.adapted, *report.new]
    assert sorted(names) == sorted(compressed.state_dict())
    used = {origin for origins in report.loaded.values() for origin in origins} | report.unused.keys()
    assert before.keys() - used <= {"positions.pos_embed"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert compressed(tiny_clip(size=SIZE)).isfinite().all()


@pytest.mark.parametrize("options", [{}, {"norm": "before"}, {"wo2": False}, {"wo2": False, "norm": "before"}])
def test_lookup_starts_with_a_lookup_stream_that_stays_what_it_was(options):
    model = compress_model(dense(), LookupConfig(budget=(2, 2), **options)).model
    streams = []
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda _, __, tokens: streams.append(tokens.lookup))
    model(tiny_clip(size=SIZE))
    assert all(torch.equal(stream, streams[0]) for stream in streams)


def test_lookup_with_norms_before_gathers_as_the_block_attended():
    model = dense("vivit mean")
    compressed = compress_model(model, LookupConfig(budget=(2, 2), norm="before")).model
    lookup, block = compressed.encoder.blocks[1], model.encoder.blocks[0]
    x, few = torch.randn(2, 32, 16), torch.randn(2, 5, 16)
    q, k, v = lookup.gather.project(few, x)
    theirs = block.attn.project_apart(block.norm1(few), block.norm1(x))
    for ours, other in zip((q, k, v), theirs, strict=True):
        torch.testing.assert_close(ours, other)


def test_a_compressor_without_weights_gives_way_to_another_one_and_others_do_not():
    evit = compress_model(dense(), "evit").model
    merged, clip = compress_model(evit, "merge", budget=1.0).model, tiny_clip(size=SIZE)
    assert torch.equal(merged(clip), dense()(clip))
    lookup = compress_model(dense(), "lookup", budget="2x2").model
    with pytest.raises(ConfigError, match="cannot start from a model with compressor 'lookup'.*dense"):
        compress_model(lookup, "evit")
    same = compress_model(lookup, "lookup", budget="3x3").model
    assert same.budget == (3, 3) and all(
        torch.equal(value, lookup.state_dict()[name]) for name, value in same.state_dict().items()
    )


@pytest.mark.parametrize("kind", ["none", "evit", "lookup", "semantic"])
@pytest.mark.parametrize("layers", [None, (2,)])
def test_super_tokens_give_way_as_the_dense_model_would(kind: str, layers):
    budget = "2x2" if kind in ("lookup", "semantic") else None
    source = compress_model(dense(), {"kind": "supertoken", "layers": layers} if layers else "supertoken").model
    one, two = (compress_model(model, kind, budget=budget) for model in (source, dense()))
    told = [{"loaded": len(r.loaded), "adapted": r.adapted, "new": r.new, "unused": r.unused} for _, r in (one, two)]
    assert told[0] == told[1]
    for name in one.report.loaded:
        assert torch.equal(one.model.state_dict()[name], two.model.state_dict()[name])


def test_load_compresses_and_sets_budgets(tmp_path):
    model, clip = dense(), tiny_clip(size=SIZE)
    model.save_pretrained(tmp_path)
    assert torch.equal(vidtok.load(tmp_path, compressor="evit", budget=1.0)(clip), model(clip))
    assert vidtok.load(tmp_path, compressor="evit", budget="0.5").token_counts == [32, 17, 10, 6]
    with pytest.raises(ConfigError, match="compressor 'none' has no budget"):
        vidtok.load(tmp_path, budget=0.5)
    with pytest.raises(ConfigError, match="compressor.budget: "):
        vidtok.load(tmp_path, compressor="evit", budget="5x5")


@pytest.mark.parametrize("kind", KINDS)
def test_training_starts_a_compressor_from_a_dense_checkpoint_with_other_classes(kind: str, tmp_path):
    model = dense()
    model.save_pretrained(tmp_path)
    compressor = {"kind": kind} | ({} if kind in FULL else {"budget": "2x2"})
    config = from_tree(ModelConfig, {"backbone": model.config.backbone, "compressor": compressor})
    started, table = start_from(tmp_path, config, ClipConfig(frames=4, size=SIZE), num_classes=7)
    assert started.config.compressor.kind == kind and started.num_classes == 7
    assert "loaded" in table and torch.equal(
        started.state_dict()["patch_embed.proj.weight"], model.state_dict()["patch_embed.proj.weight"]
    )


def test_a_warm_started_model_saves_and_loads(tmp_path):
    model = compress_model(dense(), "semantic", budget="3x3").model
    clip = tiny_clip(size=SIZE)
    assert torch.equal(load(model.save_pretrained(tmp_path))(clip), model(clip))
