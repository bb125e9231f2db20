"""Files in other projects' layouts: equal to transformers, to timm's golden logits, or tensor by tensor."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models import layouts
from tests.models.golden import formula
from tests.models.test_pretrained_hf import LIBRARY, SIZES, perturbed, theirs
from tests.models.tiny import perturb, tiny_model
from vidtok.errors import WeightsError
from vidtok.models.backbones import VideoModel
from vidtok.models.checkpoint import load
from vidtok.models.pretrained import Hints, load_foreign

GOLDEN = json.loads((Path(__file__).parent / "golden" / "timm.json").read_text(encoding="utf-8"))
HEADS = Hints(num_heads=4)
TIMESFORMERS = ("divided_space_time", "joint_space_time", "space_only")
CFG = """DATA: {NUM_FRAMES: 4, SAMPLING_RATE: 7, MEAN: [0.45, 0.45, 0.45]}
TIMESFORMER: {ATTENTION_TYPE: %s}
"""


def assert_same_logits(ours: VideoModel, want: Tensor, clip: Tensor) -> None:
    with torch.no_grad():
        got = ours(clip)
    assert 0.1 < want.std() < 10
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


@pytest.mark.parametrize("attention", TIMESFORMERS)
def test_official_timesformer_files(attention: str, tmp_path: Path):
    model = perturbed(LIBRARY[attention](**SIZES["small"]))
    weights = {f"model.{key}": value for key, value in layouts.official_timesformer(model.state_dict()).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9).state_dict()
    content = {"epoch": 14, "model_state": weights, "optimizer_state": optimizer, "cfg": CFG % attention}
    torch.save(content, tmp_path / "TimeSformer_divST.pyth")
    ours, report = load_foreign(tmp_path / "TimeSformer_divST.pyth", hints=HEADS)
    clip = torch.randn(2, 3, 4, 32, 32)
    assert_same_logits(ours, theirs(model, clip).detach(), clip)
    assert ours.config.backbone.attention == attention.split("_")[0]
    assert (ours.preprocessing.stride, ours.preprocessing.mean[0], ours.preprocessing.std[0]) == (7, 0.45, 0.225)
    assert not report.adapted and not report.new and not report.unused
    assert "optimizer_state" in report.table()


@pytest.mark.parametrize("attention", TIMESFORMERS)
def test_mmaction2_timesformer_files(attention: str, tmp_path: Path):
    model = perturbed(LIBRARY[attention](**SIZES["small"]))
    torch.save({"meta": {}, "state_dict": layouts.mmaction_timesformer(model.state_dict())}, tmp_path / "t.pth")
    ours, report = load_foreign(tmp_path / "t.pth", hints=Hints(num_heads=4, source_frames=4))
    clip = torch.randn(2, 3, 4, 32, 32)
    assert_same_logits(ours, theirs(model, clip).detach(), clip)
    assert (ours.preprocessing.mean[0], ours.preprocessing.std[0]) == (0.5, 0.5)
    assert not report.adapted and not report.new and not report.unused


@pytest.mark.parametrize("wrapper", ["model", "module"])
def test_official_videomae_files(wrapper: str, tmp_path: Path):
    model = LIBRARY["videomae"](**SIZES["small"], layer_norm_eps=1e-6)
    model.fc_norm.eps = 1e-6  # as in the official code; the library leaves torch's default here
    perturbed(model)
    torch.save({wrapper: layouts.official_videomae(model.state_dict())}, tmp_path / "ft.pth")
    ours, report = load_foreign(tmp_path / "ft.pth", num_frames=4, image_size=32, hints=HEADS)
    clip = torch.randn(2, 3, 4, 32, 32)
    assert_same_logits(ours, theirs(model, clip).detach(), clip)
    assert not report.adapted and not report.new and not report.unused


def test_videomae_files_with_one_bias_for_queries_keys_and_values(tmp_path: Path):
    model = perturbed(LIBRARY["videomae"](**SIZES["small"], layer_norm_eps=1e-6))
    official = layouts.official_videomae(model.state_dict())
    for layer in range(2):
        q_bias, v_bias = (official.pop(f"blocks.{layer}.attn.{part}_bias") for part in "qv")
        official[f"blocks.{layer}.attn.qkv.bias"] = torch.cat([q_bias, torch.randn_like(q_bias), v_bias])
    torch.save({"model": official}, tmp_path / "ft.pth")
    ours, report = load_foreign(tmp_path / "ft.pth", hints=Hints(num_heads=4, source_frames=4), image_size=32)
    plain = load_foreign_of(model, tmp_path)
    assert all(torch.equal(value, plain[name]) for name, value in ours.state_dict().items())
    assert all("shifts all scores of a query alike" in how for how in report.adapted.values())


def load_foreign_of(model: torch.nn.Module, folder: Path) -> dict[str, torch.Tensor]:
    """Weights of the same model from its usual layout."""
    torch.save({"model": layouts.official_videomae(model.state_dict())}, folder / "usual.pth")
    hints = Hints(num_heads=4, source_frames=4)
    return load_foreign(folder / "usual.pth", hints=hints, image_size=32)[0].state_dict()


def test_official_videomae_pretraining_files(tmp_path: Path):
    official = layouts.official_videomae(perturbed(LIBRARY["videomae"](**SIZES["small"])).state_dict())
    encoder = {f"encoder.{key}": value for key, value in official.items() if not key.startswith(("head", "fc_norm"))}
    extra = {"encoder.norm.weight": torch.ones(32), "encoder.norm.bias": torch.zeros(32)}
    extra |= {"mask_token": torch.zeros(1, 1, 16), "decoder.blocks.0.norm1.weight": torch.ones(16)}
    extra |= {"encoder_to_decoder.weight": torch.zeros(16, 32)}
    torch.save({"model": encoder | extra, "args": argparse.Namespace(lr=1e-3)}, tmp_path / "pre.pth")
    ours, report = load_foreign(tmp_path / "pre.pth", num_classes=3, hints=HEADS)
    assert torch.equal(ours.encoder.blocks[1].attn.q_bias, official["blocks.1.attn.q_bias"])
    assert report.unused.keys() == extra.keys()
    assert set(report.new) == {"head.weight", "head.bias", "encoder.norm.weight", "encoder.norm.bias"}


@pytest.mark.parametrize("case", GOLDEN["cases"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_timm_logits(case: str, suffix: str, tmp_path: Path):
    golden = GOLDEN["cases"][case]
    weights = {key: torch.from_numpy(value) for key, value in formula.weights(golden["shapes"]).items()}
    path = tmp_path / f"deit_{case}.{suffix}"
    if suffix == "pth":
        torch.save({"model": weights, "args": argparse.Namespace(model="deit")}, path)
    else:
        save_file(weights, path)
    ours, report = load_foreign(path)
    size = ours.preprocessing.size
    clip = torch.from_numpy(formula.clip([2, 3, size, size]))[:, :, None]
    assert_same_logits(ours, torch.tensor(golden["logits"]), clip)
    assert not report.new and not report.unused
    assert bool(report.adapted) == (case == "deit3")  # LayerScale is folded in, cls gets a row of zeros


def deit_weights(**changes: Tensor) -> dict[str, Tensor]:
    shapes = GOLDEN["cases"]["vit_32"]["shapes"]
    return {key: torch.from_numpy(value) for key, value in formula.weights(shapes).items()} | changes


def test_evit_files_are_read_as_the_vit_that_they_are(tmp_path: Path):
    torch.save(
        {"model": deit_weights(), "epoch": 3, "args": argparse.Namespace(base_keep_rate=0.7)}, tmp_path / "e.pth"
    )
    model = load(tmp_path / "e.pth")
    picture = torch.from_numpy(formula.clip([2, 3, 32, 32]))
    assert_same_logits(model, torch.tensor(GOLDEN["cases"]["vit_32"]["logits"]), picture[:, :, None])
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)


def test_a_distilled_deit_loses_its_second_token_and_says_so(tmp_path: Path):
    extra = {
        "dist_token": torch.ones(1, 1, 192),
        "head_dist.weight": torch.ones(5, 192),
        "head_dist.bias": torch.ones(5),
    }
    table = torch.randn(1, 6, 192)
    torch.save({"model": deit_weights(**extra, pos_embed=table)}, tmp_path / "deit.pth")
    model, report = load_foreign(tmp_path / "deit.pth")
    assert torch.equal(model.positions.pos_embed, torch.cat([table[:, :1], table[:, 2:]], dim=1))
    assert report.unused.keys() == extra.keys()
    assert "distilled" in report.table()


def mae_weights(case: str) -> dict[str, Tensor]:
    """A plain ViT's weights as MAE's fine-tuning stores them: the last norm is called fc_norm."""
    plain = formula.weights(GOLDEN["cases"][case]["shapes"])
    return {re.sub("^norm", "fc_norm", key): torch.from_numpy(value) for key, value in plain.items()}


def mae_logits(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """MAE's read-out in words: [B, 1+N, D] -> leave cls out, average, layer norm of epsilon 1e-6, linear."""
    mean = sum(tokens[:, i] for i in range(1, tokens.shape[1])) / (tokens.shape[1] - 1)
    centred = mean - mean.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    features = normed * weights["fc_norm.weight"] + weights["fc_norm.bias"]
    return features @ weights["head.weight"].T + weights["head.bias"]


@pytest.mark.parametrize(("case", "size"), [("vit_32", 32), ("vit_48", 48)])
def test_fine_tuned_mae_files_answer_with_the_norm_of_the_mean_beside_cls(case: str, size: int, tmp_path: Path):
    weights = mae_weights(case)
    torch.save({"model": weights}, tmp_path / "mae_finetuned_vit_tiny.pth")
    plain = {key.replace("fc_norm", "norm"): value for key, value in weights.items()}
    torch.save({"model": plain}, tmp_path / "deit.pth")
    ours, report = load_foreign(tmp_path / "mae_finetuned_vit_tiny.pth")
    clip, twin = torch.randn(2, 3, 1, size, size), load(tmp_path / "deit.pth")
    with torch.no_grad():
        tokens = twin.encoder.run(twin.embed(clip)).x  # the blocks are those that timm's golden logits prove
    assert_same_logits(ours, mae_logits(weights, tokens), clip)
    assert ours.config.backbone.pool == "mean_with_cls"
    assert not report.adapted and not report.new and not report.unused
    assert report.loaded["encoder.norm.weight"] == ("fc_norm.weight",)
    loaded = load(ours.save_pretrained(tmp_path / "out"))
    with torch.no_grad():
        assert torch.equal(loaded(clip), ours(clip))


def test_fine_tuned_mae_files_are_accounted_for_to_the_last_tensor(tmp_path: Path):
    weights = mae_weights("vit_32")
    torch.save({"model": weights | {"norm.weight": torch.ones(192), "norm.bias": torch.ones(192)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"tensor 'norm.bias' \[192\] and 1 more has no place in the model"):
        load(tmp_path / "a.pth")
    del weights["fc_norm.bias"]
    torch.save({"model": weights}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="tensor 'fc_norm.bias' is missing; the file is incomplete"):
        load(tmp_path / "b.pth")


@pytest.mark.parametrize("with_decoder", [False, True])
def test_mae_pretraining_files_leave_their_decoder_unused(with_decoder: bool, tmp_path: Path):
    encoder = {key: value for key, value in deit_weights().items() if not key.startswith("head.")}
    shapes = {"mask_token": [1, 1, 8], "decoder_pos_embed": [1, 5, 8], "decoder_norm.weight": [8]}
    shapes |= {"decoder_embed.weight": [8, 192], "decoder_blocks.0.attn.qkv.weight": [24, 8]}
    shapes |= {"decoder_pred.weight": [768, 8], "decoder_pred.bias": [768]}
    decoder = {key: torch.ones(shape) for key, shape in shapes.items()} if with_decoder else {}
    torch.save({"model": encoder | decoder}, tmp_path / "mae_pretrain_vit_tiny.pth")
    model, report = load_foreign(tmp_path / "mae_pretrain_vit_tiny.pth", num_classes=3)
    assert report.unused == dict.fromkeys(decoder, "decoder of the pre-training task")
    assert set(report.new) == {"head.weight", "head.bias"} and not report.adapted
    assert torch.equal(model.encoder.norm.weight, encoder["norm.weight"])
    assert model.config.backbone.pool == "cls" and model.preprocessing.mean == (0.485, 0.456, 0.406)


def write_timm_folder(folder: Path, weights: dict[str, Tensor], global_pool: str) -> Path:
    described = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"architecture": "vit_tiny_patch16_224", "global_pool": global_pool, "pretrained_cfg": described}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors")
    return folder


def test_timms_config_says_what_is_pooled(tmp_path: Path):
    picture = torch.from_numpy(formula.clip([2, 3, 32, 32]))[:, :, None]
    shapes = GOLDEN["cases"]["mean"]["shapes"]
    mean = {key: torch.from_numpy(value) for key, value in formula.weights(shapes).items()}
    model = load(write_timm_folder(tmp_path / "mean", mean, "avg"))
    assert_same_logits(model, torch.tensor(GOLDEN["cases"]["mean"]["logits"]), picture)
    cls = torch.tensor(GOLDEN["cases"]["vit_32"]["logits"])
    assert_same_logits(load(write_timm_folder(tmp_path / "cls", deit_weights(), "token")), cls, picture)
    model = load(write_timm_folder(tmp_path / "fc", mae_weights("vit_32"), "token"))
    assert model.config.backbone.pool == "cls"
    assert_same_logits(model, cls, picture)  # one token: its norm is the same before and after


def test_read_outs_that_vit_does_not_have_are_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"\(global_pool 'avg', no fc_norm\) is none that 'vit' has"):
        load(write_timm_folder(tmp_path / "before", deit_weights(), "avg"))
    with pytest.raises(WeightsError, match=r"\(global_pool 'avgmax'\) is none that 'vit' has"):
        load(write_timm_folder(tmp_path / "both", mae_weights("vit_32"), "avgmax"))


def test_mean_and_std_come_from_timms_config_else_the_name_else_the_user(tmp_path: Path):
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3}}
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text(json.dumps(config))
    save_file(deit_weights(), tmp_path / "hub" / "model.safetensors")
    assert load(tmp_path / "hub").preprocessing.mean == (0.1, 0.1, 0.1)
    torch.save(deit_weights(), tmp_path / "jx_vit_tiny.pth")
    assert load(tmp_path / "jx_vit_tiny.pth").preprocessing.std == (0.5, 0.5, 0.5)
    torch.save(deit_weights(), tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="give preset 'half'"):
        load(tmp_path / "mine.pth")
    model, _ = load_foreign(tmp_path / "mine.pth", hints=Hints(preset="imagenet"))
    assert model.preprocessing.std == (0.229, 0.224, 0.225)
    with pytest.raises(WeightsError, match="preset 'sepia' is not one of half, imagenet, timesformer"):
        load_foreign(tmp_path / "mine.pth", hints=Hints(preset="sepia"))


SCENIC = {  # variant: (flax block, the family when names do not tell)
    "vivit": ("vivit", None),
    "vivit mean": ("vivit", "vivit"),
    "vivit_fe": ("vivit", None),
    "vivit_fe mean": ("vivit", None),
    "vivit_fe averaged": ("vivit", None),
    "vivit_fsa": ("fsa", None),
    "vivit_fdp": ("vivit", "vivit_fdp"),
}


@pytest.mark.parametrize("state", ["old", "new"])
@pytest.mark.parametrize("variant", SCENIC)
def test_scenic_files(variant: str, state: str, tmp_path: Path):
    block, family = SCENIC[variant]
    model = tiny_model(variant, frames=8, size=48)
    perturb(model)
    flat = layouts.flax_tree(model.state_dict(), num_heads=2, block=block)
    if variant == "vivit_fe averaged":
        flat = {name.replace("Transformer/", "SpatialTransformer/"): value for name, value in flat.items()}
        flat["cls_SpatialTransformer"] = flat.pop("cls")
    tree = layouts.nest(flat)
    beside = {"global_step": np.int32(9), "rng": np.zeros(2, "uint32"), "model_state": {}}
    content = {"optimizer": {"target": tree, "state": {"step": 1}}} if state == "old" else {"params": tree}
    path = layouts.write_flax(tmp_path / "checkpoint", beside | content)
    ours, report = load_foreign(path, hints=Hints(source_frames=8, family=family))
    assert ours.config.backbone == model.config.backbone
    for name, value in model.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    clip = torch.randn(1, 3, 8, 48, 48)
    with torch.no_grad():
        assert torch.equal(ours(clip), model(clip))
    assert not report.adapted and not report.new and not report.unused


def test_scenics_joint_model_has_the_logits_of_transformers(tmp_path: Path):
    model = perturbed(LIBRARY["vivit"](**SIZES["large"]))
    model.save_pretrained(tmp_path / "hf")
    flat = layouts.flax_tree(load(tmp_path / "hf").state_dict(), num_heads=3)
    path = layouts.write_flax(tmp_path / "checkpoint", {"optimizer": {"target": layouts.nest(flat)}})
    ours, _ = load_foreign(path, hints=Hints(source_frames=8))
    clip = torch.randn(2, 3, 8, 48, 48)
    assert_same_logits(ours, theirs(model, clip).detach(), clip)


def test_models_one_and_four_of_vivit_are_not_guessed_apart(tmp_path: Path):
    flat = layouts.flax_tree(tiny_model("vivit_fdp").state_dict(), num_heads=2)
    path = layouts.write_flax(tmp_path / "checkpoint", {"params": layouts.nest(flat)})
    with pytest.raises(WeightsError, match="give source_family 'vivit_fdp' or 'vivit'"):
        load(path)


def test_arrays_that_flax_stores_in_chunks_are_joined(tmp_path: Path):
    flat = layouts.flax_tree(tiny_model("vivit").state_dict(), num_heads=2)
    whole = flat["output_projection/kernel"]
    pieces = np.array_split(whole.flatten(), 3)
    chunked = {"__msgpack_chunked_array__": True, "shape": {str(i): side for i, side in enumerate(whole.shape)}}
    flat["output_projection/kernel"] = chunked | {"chunks": {str(i): piece for i, piece in enumerate(pieces)}}
    path = layouts.write_flax(tmp_path / "checkpoint", {"params": layouts.nest(flat)})
    ours, _ = load_foreign(path, hints=Hints(source_frames=4))
    assert torch.equal(ours.head.weight, torch.from_numpy(whole.T.copy()))


@pytest.mark.parametrize("pre_logits", [False, True])
def test_google_npz_files(pre_logits: bool, tmp_path: Path):
    model = tiny_model("vit", frames=1, gelu="tanh")
    perturb(model)
    flat = layouts.flax_tree(model.state_dict(), num_heads=2, block="image", head="head")
    if pre_logits:
        flat |= {"pre_logits/kernel": np.zeros((16, 16), "float32"), "pre_logits/bias": np.zeros(16, "float32")}
    np.savez(tmp_path / "ViT-Ti_16.npz", **flat)
    ours, report = load_foreign(tmp_path / "ViT-Ti_16.npz", num_classes=3)
    for name, value in model.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value) != (pre_logits and name.startswith("head")), name
    assert ours.config.backbone.gelu == "tanh"
    assert set(report.unused) == (
        {"pre_logits/kernel", "pre_logits/bias", "head/kernel", "head/bias"} if pre_logits else set()
    )
