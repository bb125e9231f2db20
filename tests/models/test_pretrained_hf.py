"""Equality with transformers, from folders that it writes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    PreTrainedModel,
    TimesformerConfig,
    TimesformerForVideoClassification,
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    ViTConfig,
    ViTForImageClassification,
    VivitConfig,
    VivitForVideoClassification,
)

from tests.models.tiny import perturb
from vidtok.errors import WeightsError
from vidtok.models.checkpoint import load
from vidtok.models.pretrained import Hints, load_foreign

SIZES = {  # two sizes that differ in every number
    "small": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    | {"image_size": 32, "num_frames": 4, "num_labels": 5},
    "large": {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 144}
    | {"image_size": 48, "num_frames": 8, "num_labels": 11},
}
COMMON = {"initializer_range": 0.15}  # logits of order 1
LIBRARY = {
    "vivit": lambda **size: VivitForVideoClassification(VivitConfig(**size, **COMMON)),
    "videomae": lambda **size: VideoMAEForVideoClassification(VideoMAEConfig(**size, **COMMON)),
    **{
        attention: lambda attention=attention, **size: TimesformerForVideoClassification(
            TimesformerConfig(**size, **COMMON, attention_type=attention)
        )
        for attention in ("divided_space_time", "joint_space_time", "space_only")
    },
}


def perturbed(model: PreTrainedModel) -> PreTrainedModel:
    torch.manual_seed(1)
    perturb(model)
    return model.eval()


def theirs(model: PreTrainedModel, clip: Tensor) -> Tensor:
    """Logits for [B, 3, T, H, W]; the library's video axis order is [B, T, 3, H, W]."""
    video = clip.movedim(1, 2)
    if getattr(model.config, "attention_type", None) != "space_only":
        return model(video).logits
    # the library answers per frame; the official model averages tokens over time, then norms and classifies
    encoder = model.timesformer
    tokens = encoder.encoder(encoder.embeddings(video), return_dict=True).last_hidden_state
    mean = tokens.unflatten(0, video.shape[:2]).mean(1)
    return model.classifier(encoder.layernorm(mean)[:, 0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", LIBRARY)
def test_logits_equal_the_librarys(family: str, size: str, tmp_path: Path):
    torch.manual_seed(0)
    model = perturbed(LIBRARY[family](**SIZES[size]))
    model.save_pretrained(tmp_path)
    ours, report = load_foreign(tmp_path)
    frames, side = SIZES[size]["num_frames"], SIZES[size]["image_size"]
    clip = torch.randn(2, 3, frames, side, side)
    with torch.no_grad():
        want, got = theirs(model, clip), ours(clip)
    assert 0.1 < want.std() < 10
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    assert not report.adapted and not report.new and not report.unused
    assert (ours.preprocessing.frames, ours.preprocessing.size) == (frames, side)


@pytest.mark.parametrize("family", LIBRARY)
def test_a_dump_of_names_in_memory_loads_like_the_folder(family: str, tmp_path: Path):
    model = perturbed(LIBRARY[family](**SIZES["small"]))
    model.save_pretrained(tmp_path / "folder")
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "config.json").write_text((tmp_path / "folder" / "config.json").read_text())
    torch.save(model.state_dict(), tmp_path / "dump" / "weights.pth")
    folder, dump = load(tmp_path / "folder"), load(tmp_path / "dump" / "weights.pth")
    for name, value in folder.state_dict().items():
        assert torch.equal(value, dump.state_dict()[name]), name


def test_settings_of_the_config_are_kept(tmp_path: Path):
    size = SIZES["small"]
    perturbed(LIBRARY["videomae"](**size)).save_pretrained(tmp_path / "videomae")
    backbone = load(tmp_path / "videomae").config.backbone
    assert (backbone.norm_eps, backbone.fc_norm_eps, backbone.gelu) == (1e-12, 1e-5, "erf")
    VivitForVideoClassification(VivitConfig(**size, hidden_act="gelu", layer_norm_eps=1e-4)).save_pretrained(
        tmp_path / "vivit"
    )
    backbone = load(tmp_path / "vivit").config.backbone
    assert (backbone.norm_eps, backbone.gelu, backbone.mlp_ratio) == (1e-4, "erf", 2.0)


def test_a_model_without_query_key_value_biases_gets_zeros(tmp_path: Path):
    size = SIZES["small"] | {"qkv_bias": False}
    model = perturbed(VivitForVideoClassification(VivitConfig(**size)))
    model.save_pretrained(tmp_path)
    ours, report = load_foreign(tmp_path)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(clip), theirs(model, clip), rtol=1e-5, atol=1e-6)
    assert set(report.adapted) == {f"encoder.blocks.{i}.attn.qkv.bias" for i in range(2)}


def test_an_image_vit_loads_with_its_logits(tmp_path: Path):
    size = {key: value for key, value in SIZES["large"].items() if key != "num_frames"}
    model = perturbed(ViTForImageClassification(ViTConfig(**size)))
    model.save_pretrained(tmp_path)
    picture = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        want, got = model(picture).logits, load(tmp_path)(picture[:, :, None])
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def test_a_pretrained_videomae_needs_a_classifier_and_reports_its_decoder(tmp_path: Path):
    small = SIZES["small"] | {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2}
    model = VideoMAEForPreTraining(
        VideoMAEConfig(**small, decoder_num_hidden_layers=1, decoder_intermediate_size=32, use_mean_pooling=False)
    )
    model.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="no classifier; give num_classes"):
        load(tmp_path)
    _, report = load_foreign(tmp_path, num_classes=7)
    assert set(report.new) == {"head.weight", "head.bias", "encoder.norm.weight", "encoder.norm.bias"}
    reasons = set(report.unused.values())
    assert any("decoder" in reason for reason in reasons) and any("fine-tuning" in reason for reason in reasons)
    assert {"mask_token", "encoder_to_decoder.weight", "videomae.layernorm.weight"} <= report.unused.keys()


def test_a_bare_encoder_is_read_under_its_own_names(tmp_path: Path):
    model = perturbed(LIBRARY["vivit"](**SIZES["small"]))
    model.vivit.save_pretrained(tmp_path)
    ours, report = load_foreign(tmp_path, num_classes=5)
    assert torch.equal(ours.positions.pos_embed, model.vivit.embeddings.position_embeddings)
    assert set(report.new) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("names", ["files", "memory", "one release"])
def test_a_bias_of_videomaes_keys_changes_nothing_and_is_told(names: str, tmp_path: Path):
    """As files of transformers 5.10 have it, which trained one."""
    torch.manual_seed(0)
    model = perturbed(LIBRARY["videomae"](**SIZES["small"]))
    model.save_pretrained(tmp_path)
    weights = model.state_dict() if names == "memory" else load_file(tmp_path / "model.safetensors")
    for key in [key for key in weights if key.endswith(("q_bias", "query.bias", "q_proj.bias"))]:
        stem, bias = key.removesuffix(key.rpartition("attention.")[2]), weights[key]
        weights[f"{stem}key.bias"] = torch.randn_like(bias)
        if names == "one release":
            weights[f"{stem}query.bias"] = weights.pop(key)
            weights[f"{stem}value.bias"] = weights.pop(f"{stem}v_bias")
    save_file(weights, tmp_path / "model.safetensors")
    ours, report = load_foreign(tmp_path)
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        want = theirs(model, clip)
        assert (ours(clip) - want).abs().max() < 1e-5 * want.abs().max()
    assert len(report.unused) == 2 and not report.adapted
    assert "attention.key (2): bias of the keys: it shifts all scores of a query alike" in report.table()


def saved(tmp_path: Path, **entries: object) -> Path:
    """A small ViViT folder with other entries in its config."""
    perturbed(LIBRARY["vivit"](**SIZES["small"])).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | entries))
    return tmp_path


def test_real_class_names_travel_and_placeholders_do_not(tmp_path: Path):
    names = ["jump", "run", "sit", "stand", "walk"]
    real = saved(tmp_path / "real", id2label={str(i): name for i, name in enumerate(names)})
    assert load(real).class_names == tuple(names)
    assert load(saved(tmp_path / "none", id2label={str(i): f"LABEL_{i}" for i in range(5)})).class_names is None


def test_class_names_that_do_not_fit_are_refused(tmp_path: Path):
    folder = saved(tmp_path, id2label={"0": "jump", "1": "run"})
    with pytest.raises(WeightsError, match="id2label names 2 classes, the classifier has 5"):
        load(folder)


def test_the_ssv2_timesformer_takes_rgb_although_it_was_trained_on_bgr(tmp_path: Path):
    model = perturbed(LIBRARY["divided_space_time"](**SIZES["small"] | {"num_labels": 174}))
    model.save_pretrained(tmp_path)
    ours, report = load_foreign(tmp_path)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(clip), theirs(model, clip.flip(1)), rtol=1e-5, atol=1e-5)
    assert "BGR" in report.adapted["patch_embed.proj.weight"] and "BGR" in report.table()
    assert ours.preprocessing.sampling == "uniform"
    plain, report = load_foreign(tmp_path, hints=Hints(channel_order="rgb"))
    assert not report.adapted
    with torch.no_grad():
        torch.testing.assert_close(plain(clip), theirs(model, clip), rtol=1e-5, atol=1e-5)
