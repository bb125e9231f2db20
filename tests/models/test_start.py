import pytest
import torch

import vidtok
from vidtok.config import ClipConfig, LookupConfig, ModelConfig, ViTConfig, ViViTConfig, ViViTFEConfig
from vidtok.errors import WeightsError
from vidtok.models.build import build_model, create_model
from vidtok.models.checkpoint import load, save_pretrained
from vidtok.models.pretrained.start import start_from

TINY = {"dim": 16, "depth": 2, "num_heads": 2, "patch": 8}


def tiny_fe(**options):
    return create_model(
        ViViTFEConfig(**TINY, temporal_depth=1), num_frames=4, image_size=32, num_classes=5, **options
    ).eval()


def clip_of(model):
    return torch.randn(2, 3, model.preprocessing.frames, model.preprocessing.size, model.preprocessing.size)


def test_a_saved_model_loads_equal_with_budget_and_class_names(tmp_path):
    model = tiny_fe(compressor="lookup", budget=(2, 2))
    model.class_names = tuple("abcde")
    model.set_budget((3, 3))
    loaded = vidtok.load(model.save_pretrained(tmp_path / "out"))
    clip = clip_of(model)
    assert torch.equal(loaded(clip), model(clip))
    assert (loaded.budget, loaded.class_names, loaded.config) == ((3, 3), model.class_names, model.config)
    assert "pipeline_tag: video-classification" in (tmp_path / "out" / "README.md").read_text()
    assert torch.equal(type(model).from_pretrained(tmp_path / "out")(clip), model(clip))


def test_our_own_weights_start_an_equal_model_and_other_classes_renew_the_heads(tmp_path):
    model = tiny_fe(compressor=LookupConfig(budget=(2, 2)))
    save_pretrained(model, tmp_path / "out")
    same, _ = start_from(tmp_path / "out", model.config, model.preprocessing, num_classes=5)
    clip = clip_of(model)
    assert torch.equal(same.eval()(clip), model(clip))
    other, table = start_from(tmp_path / "out", model.config, model.preprocessing, num_classes=3)
    assert other(clip).shape == (2, 3) and "4 of the heads new" in table
    torch.testing.assert_close(other.eval().forward_features(clip), model.forward_features(clip), rtol=0, atol=0)


def test_our_own_weights_of_another_shape_are_refused_with_the_first_difference(tmp_path):
    save_pretrained(tiny_fe(), tmp_path / "out")
    deeper = ModelConfig(backbone=ViViTFEConfig(**(TINY | {"depth": 3}), temporal_depth=1))
    with pytest.raises(WeightsError, match="weights do not fit the model: encoder.blocks.2"):
        start_from(tmp_path / "out", deeper, ClipConfig(frames=4, size=32), num_classes=5)


def write_timm_file(path, model):
    """The weights of our image ViT under timm's names."""
    names = {"positions.cls_token": "cls_token", "positions.pos_embed": "pos_embed"}
    weights = {}
    for key, value in model.state_dict().items():
        key = names.get(key, key.removeprefix("encoder."))
        weights[key] = value.squeeze(2) if key == "patch_embed.proj.weight" else value
    torch.save({"model": weights}, path)


def test_an_image_vit_starts_a_video_model_with_a_new_head_and_keeps_its_gelu(tmp_path):
    image = build_model(
        ModelConfig(backbone=ViTConfig(**(TINY | {"num_heads": 1, "dim": 64}))),
        ClipConfig(frames=1, size=32),
        num_classes=7,
    )
    write_timm_file(tmp_path / "deit.pth", image)
    config = ViViTConfig(**(TINY | {"num_heads": 1, "dim": 64}))
    model = create_model(config, num_frames=4, image_size=32, num_classes=3, pretrained=tmp_path / "deit.pth")
    assert model.config.backbone.gelu == "erf" and model.num_classes == 3
    assert torch.equal(model.encoder.blocks[1].attn.qkv.weight, image.encoder.blocks[1].attn.qkv.weight)
    compressed = create_model(
        config, num_frames=4, image_size=32, compressor="lookup", budget=(2, 2), pretrained=tmp_path / "deit.pth"
    )
    assert torch.equal(compressed.encoder.blocks[2].refine.attn.qkv.weight, image.encoder.blocks[1].attn.qkv.weight)


def test_a_trace_of_the_plain_model_is_the_identity():
    model = create_model(ViViTConfig(**TINY), num_frames=4, image_size=32, num_classes=5)
    traced = model.trace(clip_of(model))
    assert len(traced) == 2 and all(torch.equal(source[0], torch.eye(32)) for source in traced)


@pytest.mark.parametrize("backbone", [ViTConfig(**TINY), ViViTConfig(**TINY), ViViTFEConfig(**TINY, temporal_depth=1)])
def test_a_trace_of_lookup_says_what_compressed_tokens_gather(backbone):
    model = create_model(backbone, num_frames=4, image_size=32, num_classes=5, compressor="lookup", budget=(2, 3))
    steps = model.lattice[0]
    for source, (compressed, lookup) in zip(model.trace(clip_of(model)), model.token_counts, strict=True):
        assert source.shape == (2, compressed, lookup)
        torch.testing.assert_close(source.sum(2), torch.ones(2, compressed))
        over_time = source.unflatten(2, (steps, -1)).unflatten(1, (steps, -1)).sum((2, 4))[0]
        is_joint = isinstance(backbone, ViViTConfig)
        assert is_joint or torch.allclose(over_time, torch.eye(steps) * 6)


def test_load_of_a_folder_without_a_checkpoint_says_what_it_lacks(tmp_path):
    with pytest.raises(WeightsError, match=r"holds neither config.json with model.safetensors nor best.ckpt"):
        load(tmp_path)
