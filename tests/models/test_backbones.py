from typing import get_args

import pytest
import torch

from tests.models.tiny import CLASSES, VARIANTS, perturb, tiny_clip, tiny_model
from vidtok.config import BackboneUnion, ModelConfig, Recipe, from_tree
from vidtok.configio import packaged_configs, read_tree
from vidtok.errors import ConfigError
from vidtok.models.build import BACKBONES, MODEL_NAMES, create_model, list_models
from vidtok.models.checkpoint import load, save_pretrained

every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_block = pytest.mark.parametrize(
    "variant", ["vivit_fe", "vivit_fsa", "vivit_fdp", "timesformer divided", "timesformer space", "videomae"]
)

WITH_LOOKUP = [
    "vit",
    "vivit",
    "vivit_fe",
    "vivit_fe averaged",
    "vivit_fdp",
    "timesformer joint",
    "timesformer space",
    "videomae",
]
WITHOUT_LOOKUP = ["vivit_fsa", "timesformer divided"]


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def test_every_config_class_has_a_builder_and_a_variant_here():
    kinds = {config.model_fields["kind"].default for config in get_args(BackboneUnion)}
    assert set(get_args(BackboneUnion)) == set(BACKBONES)
    assert {fields["kind"] for fields in VARIANTS.values()} == kinds


@every_variant
def test_a_clip_becomes_finite_logits_that_repeat_exactly(variant):
    model, clip = tiny_model(variant), tiny_clip()
    logits = model(clip)
    assert logits.shape == (2, CLASSES)
    assert logits.isfinite().all()
    assert torch.equal(logits, model(clip))


@every_variant
def test_clips_of_a_batch_do_not_see_each_other(variant):
    model, clip = tiny_model(variant), tiny_clip(3)
    perturb(model)
    torch.testing.assert_close(model(clip)[1:2], model(clip[1:2]))


@every_variant
def test_every_parameter_gets_a_finite_gradient(variant):
    model = tiny_model(variant).train()
    perturb(model)
    model(tiny_clip()).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_variant
def test_recomputing_activations_changes_no_gradient(variant):
    model, clip = tiny_model(variant).train(), tiny_clip()
    perturb(model)
    model(clip).sum().backward()
    plain = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.set_grad_checkpointing()
    model(clip).sum().backward()
    for p, expected in zip(model.parameters(), plain, strict=True):
        torch.testing.assert_close(p.grad, expected)


@every_variant
def test_tokens_of_every_layer_are_counted(variant):
    model = tiny_model(variant)
    num_steps = 4 // model.config.backbone.tubelet
    assert model.token_counts == [num_steps * 4] * 2  # 2 x 2 patches, 2 layers


@every_block
def test_one_graph_holds_the_whole_model(variant):
    model, clip = tiny_model(variant, depth=1), tiny_clip()
    perturb(model)
    torch.compiler.reset()  # else the graphs of other variants count as recompilations
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(clip), model(clip))


@every_variant
def test_an_exported_model_gives_the_same_logits(variant):
    model, clip = tiny_model(variant, depth=1), tiny_clip()
    perturb(model)
    exported = torch.export.export(model, (clip,)).module()
    torch.testing.assert_close(exported(clip), model(clip))


@every_variant
def test_bfloat16_weights_and_autocast_give_nearly_the_same_logits(variant):
    model, clip = tiny_model(variant), tiny_clip()
    perturb(model)
    expected = model(clip)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(clip)
    low = model.to(torch.bfloat16)(clip.bfloat16())
    assert low.dtype == torch.bfloat16
    for logits in (mixed, low):  # bfloat16 has 8 bits: some 1 % per operation on logits of order 1
        torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.1)


@every_variant
def test_stochastic_depth_acts_in_training_alone(variant):
    model, clip = tiny_model(variant, drop_path=0.9), tiny_clip()
    perturb(model)
    plain = tiny_model(variant)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(clip), plain(clip))
    assert not torch.allclose(model.train()(clip), plain(clip))


@every_variant
def test_a_saved_model_loads_back_with_equal_logits(variant, tmp_path):
    model, clip = tiny_model(variant, norm_eps=1e-4), tiny_clip()
    perturb(model)
    loaded = load(save_pretrained(model, tmp_path))
    assert loaded.config == model.config
    assert torch.equal(loaded(clip), model(clip))


@every_variant
def test_the_read_out_is_stored_in_the_config_and_decides_on_a_cls_token(variant):
    model = tiny_model(variant)
    has_cls = any(name.endswith("cls_token") for name in model.state_dict())
    assert has_cls == (model.config.backbone.pool != "mean")


@pytest.mark.parametrize("variant", WITH_LOOKUP)
def test_lookup_works_where_attention_is_joint_or_per_frame(variant):
    model = tiny_model(variant, compressor={"kind": "lookup", "budget": "1x1"}).train()
    perturb(model)
    clip = tiny_clip()
    before = model(clip)
    model(clip).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.set_budget((2, 2))
    assert not torch.allclose(model(clip), before)


@pytest.mark.parametrize(("kind", "text", "budget"), [("lookup", "2x1", (2, 1)), ("evit", "0.5", 0.5)])
def test_a_budget_is_set_in_every_spelling_that_builds_a_model(kind, text, budget):
    model = tiny_model("vivit", compressor={"kind": kind, "budget": 1.0 if kind == "evit" else "1x1"})
    for spelling in (text, budget, list(budget) if isinstance(budget, tuple) else budget):
        model.set_budget(spelling)
        assert model.budget == budget


@pytest.mark.parametrize("kind", ["lookup", "semantic", "supertoken", "evit"])
@pytest.mark.parametrize("budget", [None, True, (1.5, 1), {1}, "abc"])
def test_what_is_no_budget_is_refused_in_a_sentence(kind, budget):
    own = 0.7 if kind == "evit" else "1x1"
    model = tiny_model("vivit", depth=3, compressor={"kind": kind, "budget": own})
    before = model.budget
    with pytest.raises(ConfigError, match="neither a grid"):
        model.set_budget(budget)
    assert model.budget == before


def test_the_list_of_models_names_only_pairs_that_build():
    listed = list_models(compressor="evit")
    assert "vivit_fdp_b_16x2" not in listed and "timesformer_b_16" in listed
    assert list_models("timesformer*") == [f"timesformer_{name}" for name in ("ti_16", "s_16", "b_16", "l_16", "h_14")]


@pytest.mark.parametrize("path", sorted((packaged_configs() / "backbone").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_packaged_backbone_is_the_model_that_its_file_name_says(path):
    model = from_tree(Recipe, read_tree(path)).model
    assert model.backbone == from_tree(ModelConfig, {"backbone": path.stem}).backbone
    assert path.stem in MODEL_NAMES


def test_every_family_has_a_packaged_backbone():
    files = (packaged_configs() / "backbone").glob("*.yaml")
    kinds = {from_tree(Recipe, read_tree(path)).model.backbone.kind for path in files}
    assert kinds == {config.model_fields["kind"].default for config in BACKBONES}


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_listed_name_builds(name):
    with torch.device("meta"):
        assert create_model(name, num_classes=5).num_classes == 5


@pytest.mark.parametrize(
    ("name", "frames"),
    [("vit_ti_16", 1), ("timesformer_ti_16", 8), ("videomae_ti_16x2", 16), ("vivit_fsa_ti_16x2", 32)],
)
def test_frames_default_to_what_the_family_was_published_with(name, frames):
    with torch.device("meta"):
        assert create_model(name).preprocessing.frames == frames
        assert create_model(name, num_frames=4).preprocessing.frames == 4


def test_heads_that_cannot_be_halved_are_refused():
    with pytest.raises(ConfigError, match="num_heads 3 must be even"):
        create_model("vivit_fdp_ti_16x2")


@pytest.mark.parametrize("backbone", ["vivit_fsa", "vivit_fdp", "videomae"])
def test_a_cls_read_out_is_refused_where_there_is_no_cls_token(backbone):
    with pytest.raises(ConfigError, match="pool"):
        from_tree(ModelConfig, {"backbone": {"kind": backbone, "pool": "cls"}})


@pytest.mark.parametrize("variant", ["timesformer divided", "timesformer joint", "timesformer space"])
def test_only_time_embeddings_tell_timesformer_the_order_of_frames(variant):
    model, clip = tiny_model(variant), tiny_clip()
    perturb(model)
    shuffled = clip[:, :, [2, 0, 3, 1]]
    if variant != "timesformer space":
        assert not torch.allclose(model(clip), model(shuffled), atol=1e-4)
        torch.nn.init.zeros_(model.positions.time_embed)
    torch.testing.assert_close(model(clip), model(shuffled))


def test_space_only_timesformer_averages_before_the_norm():
    model, clip = tiny_model("timesformer space"), tiny_clip()
    perturb(model)
    frames = model.positions(model.patch_embed(clip).flatten(0, 1))
    mean = model.encoder.run(frames).x[:, 0].unflatten(0, (2, 4)).mean(1)
    torch.testing.assert_close(model(clip), model.head(model.encoder.norm(mean)))


def test_a_mean_beside_a_cls_token_leaves_that_token_out_and_is_normalised_itself():
    model, clip = tiny_model("vit mean with cls", frames=1), tiny_clip(frames=1)
    perturb(model)
    tokens = model.encoder.run(model.positions(model.patch_embed(clip).flatten(1, 2))).x
    assert tokens.shape[1] == 1 + 4
    torch.testing.assert_close(model(clip), model.head(model.encoder.norm(tokens[:, 1:].mean(1))))


def test_videomae_normalises_the_mean_of_its_tokens_with_its_own_epsilon():
    model, clip = tiny_model("videomae", fc_norm_eps=0.5), tiny_clip()
    perturb(model)
    mean = model.encoder.run(model.positions(model.patch_embed(clip).flatten(1, 2))).x.mean(1)
    centred = mean - mean.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 0.5).sqrt()
    expected = model.head(normed * model.encoder.norm.weight + model.encoder.norm.bias)
    torch.testing.assert_close(model(clip), expected)


def test_videomae_has_no_positions_and_no_key_bias_in_its_state_dict():
    names = tiny_model("videomae", depth=1).state_dict().keys()
    assert not any("pos" in name for name in names)
    assert {name.rpartition("attn.")[2] for name in names if "attn." in name} == {
        "qkv.weight",
        "q_bias",
        "v_bias",
        "proj.weight",
        "proj.bias",
    }
