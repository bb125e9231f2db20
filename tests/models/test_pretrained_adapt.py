"""What stays equal when weights are fitted to other clips, tubelets, families and classes."""

import argparse
import json
from pathlib import Path

import pytest
import torch

from tests.models import layouts
from tests.models.golden import formula
from tests.models.test_pretrained_hf import LIBRARY, SIZES, perturbed
from tests.models.test_pretrained_official import GOLDEN, deit_weights, mae_weights
from tests.models.tiny import tiny_model
from vidtok.errors import ConfigError, WeightsError
from vidtok.models.checkpoint import load
from vidtok.models.pretrained import load_foreign
from vidtok.models.pretrained.adapt import inflate_kernel, resize_table


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def vivit(tmp_path: Path) -> Path:
    perturbed(LIBRARY["vivit"](**SIZES["small"])).save_pretrained(tmp_path / "vivit")
    return tmp_path / "vivit"


@pytest.fixture
def timesformer(tmp_path: Path) -> Path:
    perturbed(LIBRARY["divided_space_time"](**SIZES["small"])).save_pretrained(tmp_path / "timesformer")
    return tmp_path / "timesformer"


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """timm's ViT of two layers for pictures of 32 pixels, 5 classes."""
    torch.save({"model": deit_weights(), "args": argparse.Namespace()}, tmp_path / "deit.pth")
    return tmp_path / "deit.pth"


def static_clip(frames: int, *, size: int = 32) -> torch.Tensor:
    """The golden pictures of timm's case, shown for ``frames`` frames."""
    return torch.from_numpy(formula.clip([2, 3, size, size]))[:, :, None].repeat(1, 1, frames, 1, 1)


VIT_LOGITS = torch.tensor(GOLDEN["cases"]["vit_32"]["logits"])


def test_a_resized_table_equals_timms():
    table = torch.from_numpy(formula.clip([1, 17, 3]))
    want = torch.tensor(GOLDEN["6x6"])
    torch.testing.assert_close(resize_table(table, (1, 4, 4), (1, 6, 6))[0], want, rtol=1e-5, atol=1e-5)


def test_resizing_keeps_prefix_rows_constants_and_linear_motion_in_time():
    table = torch.randn(1, 1 + 4 * 9, 6)
    resized = resize_table(table, (4, 3, 3), (8, 5, 5))
    assert resized.shape == (1, 1 + 8 * 25, 6) and torch.equal(resized[:, :1], table[:, :1])
    constant = torch.ones(1, 1 + 36, 2)
    torch.testing.assert_close(resize_table(constant, (4, 3, 3), (8, 5, 5)), torch.ones(1, 1 + 200, 2))
    ramp = torch.arange(4.0).reshape(1, 4, 1)
    inside = resize_table(ramp, (4, 1, 1), (8, 1, 1))[0, 1:-1, 0]
    torch.testing.assert_close(inside.diff(), torch.full((5,), 0.5))
    tiled = resize_table(torch.randn(1, 9, 4), (1, 3, 3), (5, 3, 3)).unflatten(1, (5, 9))
    assert torch.equal(tiled, tiled[:, :1].expand_as(tiled))


def test_twice_the_frames_changes_only_the_temporal_positions(timesformer: Path):
    before = load(timesformer).state_dict()
    model, report = load_foreign(timesformer, num_frames=8)
    assert list(report.adapted) == ["positions.time_embed"]
    assert report.adapted["positions.time_embed"] == "4 -> 8 time steps (linear)"
    for name, value in model.state_dict().items():
        if name != "positions.time_embed":
            assert torch.equal(value, before[name]), name
    table = model.positions.time_embed
    torch.testing.assert_close(table.mean(1), before["positions.time_embed"].mean(1), rtol=0, atol=1e-6)
    assert model.preprocessing.frames == 8 and model(torch.randn(1, 3, 8, 32, 32)).shape == (1, 5)


def test_a_larger_picture_changes_only_the_spatial_positions(vivit: Path):
    before = load(vivit).state_dict()
    model, report = load_foreign(vivit, image_size=64)
    assert report.adapted == {"positions.pos_embed": "2x2 -> 4x4 (bicubic)"}
    for name, value in model.state_dict().items():
        if name != "positions.pos_embed":
            assert torch.equal(value, before[name]), name
    table, old = model.positions.pos_embed, before["positions.pos_embed"]
    assert torch.equal(table[:, :1], old[:, :1])  # cls
    for step in range(2):  # each time step by itself
        one = torch.cat([old[:, :1], old[:, 1 + 4 * step : 5 + 4 * step]], dim=1)
        want = resize_table(one, (1, 2, 2), (1, 4, 4))[:, 1:]
        assert torch.equal(table[:, 1 + 16 * step : 17 + 16 * step], want)
    assert (model.preprocessing.size, model.preprocessing.short_side) == (64, 74)  # 224 : 256


def test_a_new_head_leaves_the_features_as_they_are(vivit: Path):
    before = load(vivit)
    model, report = load_foreign(vivit, num_classes=9, class_names=list("abcdefghi"))
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.forward_features(clip), before.forward_features(clip))
    assert set(report.new) == {"head.weight", "head.bias"} == set(report.unused)
    assert model.num_classes == 9 and model.class_names == tuple("abcdefghi")


def test_the_same_number_of_classes_keeps_the_head(vivit: Path):
    assert not load_foreign(vivit, num_classes=5)[1].new


@pytest.mark.parametrize("inflate", ["central", "average"])
def test_an_inflated_kernel_gives_a_static_clip_the_pictures_tokens(inflate: str):
    kernel = torch.randn(6, 3, 1, 4, 4)
    for tubelet in (2, 3, 4):
        inflated = inflate_kernel(kernel, tubelet, inflate)
        assert inflated.shape == (6, 3, tubelet, 4, 4)
        torch.testing.assert_close(inflated.sum(2), kernel[:, :, 0], rtol=0, atol=1e-6)
    live = inflate_kernel(kernel, 4, inflate).flatten(3).abs().sum((0, 1, 3)) > 0
    assert live.tolist() == ([False, False, True, False] if inflate == "central" else [True] * 4)


def test_another_tubelet_of_a_video_model_keeps_a_static_clips_tokens(vivit: Path):
    before = load(vivit)
    model, report = load_foreign(vivit, tubelet=1)
    clip = torch.randn(1, 3, 1, 32, 32).repeat(1, 1, 4, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model.patch_embed(clip)[:, ::2], before.patch_embed(clip))
    assert report.adapted["patch_embed.proj.weight"] == "tubelet 2 -> 1 (central)"
    assert report.adapted["positions.pos_embed"] == "2 -> 4 time steps (linear)"


def test_divided_timesformer_from_an_image_vit_answers_a_static_clip_like_it(vit: Path):
    model, report = load_foreign(vit, backbone="timesformer", num_frames=3)
    with torch.no_grad():
        torch.testing.assert_close(model(static_clip(3)), VIT_LOGITS, rtol=1e-5, atol=1e-5)
    state = model.state_dict()
    assert torch.equal(state["encoder.blocks.1.temporal_attn.qkv.weight"], state["encoder.blocks.1.attn.qkv.weight"])
    assert report.adapted["encoder.blocks.0.temporal_fc.weight"].startswith("zero")
    assert not report.new and model.preprocessing.mean == (0.485, 0.456, 0.406)


def test_only_the_last_temporal_matrix_starts_at_zero_so_time_can_learn(vit: Path):
    model, _ = load_foreign(vit, backbone="timesformer", num_frames=3)
    loss = model(torch.randn(1, 3, 3, 32, 32)).square().sum()
    loss.backward()
    block = model.encoder.blocks[0]
    assert block.temporal_fc.weight.grad.abs().sum() > 0
    assert block.temporal_attn.qkv.weight.grad.abs().sum() == 0  # until that matrix has moved
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    model.zero_grad()
    model(torch.randn(1, 3, 3, 32, 32)).square().sum().backward()
    assert block.temporal_attn.qkv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("inflate", ["central", "average"])
def test_vivit_from_an_image_vit_answers_one_static_time_step_like_it(vit: Path, inflate: str):
    model, report = load_foreign(vit, backbone="vivit", num_frames=2, inflate=inflate)
    with torch.no_grad():
        torch.testing.assert_close(model(static_clip(2)), VIT_LOGITS, rtol=1e-5, atol=1e-5)
    assert report.adapted["patch_embed.proj.weight"] == f"tubelet 1 -> 2 ({inflate})"
    assert model.config.backbone.gelu == "erf"


def test_vivit_from_an_image_vit_has_the_same_positions_at_every_step(vit: Path):
    model, _ = load_foreign(vit, backbone="vivit", num_frames=8)
    table = model.positions.pos_embed
    steps = table[:, 1:].unflatten(1, (4, 4))
    assert torch.equal(steps, deit_weights()["pos_embed"][:, None, 1:].expand_as(steps))


def test_factorised_encoder_from_an_image_vit_has_its_features_at_every_step(vit: Path):
    image = load(vit)
    model, report = load_foreign(vit, backbone="vivit_fe", num_frames=4)
    clip = static_clip(4)
    with torch.no_grad():
        features = image.forward_features(clip[:, :, :1])
        embedded = model.patch_embed(clip)
        (steps,) = model.encoder(model.positions(embedded.flatten(0, 1)))
    torch.testing.assert_close(steps.unflatten(0, (2, 2)), features[:, None].expand(-1, 2, -1), rtol=1e-5, atol=1e-5)
    assert all(name.startswith(("temporal.", "temporal_positions.")) for name in report.new) and report.new


def test_factorised_self_attention_from_an_image_vit_loses_the_cls_token_and_says_so(vit: Path):
    model, report = load_foreign(vit, backbone="vivit_fsa", num_frames=2)
    assert "positions.cls_token" in report.unused and "mean of the tokens" in report.table()
    assert model(torch.randn(1, 3, 2, 32, 32)).shape == (1, 5)


@pytest.fixture
def mae(tmp_path: Path) -> Path:
    """The same weights read out as MAE's fine-tuning does."""
    torch.save({"model": mae_weights("vit_32")}, tmp_path / "mae.pth")
    return tmp_path / "mae.pth"


@pytest.mark.parametrize("kind", ["vivit", "vivit_fe", "timesformer"])
def test_a_video_model_from_a_mean_beside_cls_reads_the_cls_token_and_says_so(mae: Path, kind: str):
    model, report = load_foreign(mae, backbone=kind, num_frames=2)
    assert model.config.backbone.pool == "cls"
    assert "the source answers with the normalised mean of the patch tokens" in report.table()
    assert "this model with the cls token: fine-tune it" in report.table()
    assert torch.equal(model.encoder.norm.weight, mae_weights("vit_32")["fc_norm.weight"])
    assert not report.unused


def test_a_video_model_without_a_cls_token_drops_it_from_a_mean_beside_cls(mae: Path):
    model, report = load_foreign(mae, backbone="vivit_fsa", num_frames=2)
    assert "positions.cls_token" in report.unused and "this model with the mean of the tokens" in report.table()
    assert model(torch.randn(1, 3, 2, 32, 32)).shape == (1, 5)


def test_an_image_vit_keeps_its_read_out_on_several_frames_and_at_another_size(mae: Path):
    model, report = load_foreign(mae, num_frames=4, image_size=48)
    assert model.config.backbone.pool == "mean_with_cls" and "fine-tune" not in report.table()
    with torch.no_grad():
        still = static_clip(1, size=48)
        torch.testing.assert_close(model(still.expand(-1, -1, 4, -1, -1)), load_foreign(mae, image_size=48)[0](still))
    model, report = load_foreign(mae, backbone={"kind": "vit", "pool": "cls"})
    with torch.no_grad():
        torch.testing.assert_close(model(static_clip(1)), VIT_LOGITS, rtol=1e-5, atol=1e-5)
    assert "this model with the cls token: fine-tune it" in report.table()


def test_further_fields_of_the_backbone_can_be_asked_for(vit: Path):
    model, _ = load_foreign(vit, backbone={"kind": "timesformer", "attention": "joint"}, num_frames=2)
    assert model.config.backbone.attention == "joint"
    model, report = load_foreign(vit, backbone={"kind": "vivit_fe", "temporal_depth": 0}, num_frames=4)
    assert not report.new
    with torch.no_grad():
        torch.testing.assert_close(model(static_clip(4)), VIT_LOGITS, rtol=1e-5, atol=1e-5)


def test_fixed_positions_are_computed_not_resized(tmp_path: Path):
    perturbed(LIBRARY["videomae"](**SIZES["small"])).save_pretrained(tmp_path)
    model, report = load_foreign(tmp_path, num_frames=8)
    assert not report.adapted and "not resized" in report.table()
    assert model(torch.randn(1, 3, 8, 32, 32)).shape == (1, 5)


def test_what_cannot_be_is_refused(vit: Path, vivit: Path):
    with pytest.raises(WeightsError, match="vivit weights cannot become timesformer; an image ViT can"):
        load_foreign(vivit, backbone="timesformer")
    with pytest.raises(WeightsError, match="vit weights cannot become videomae"):
        load_foreign(vit, backbone="videomae")
    with pytest.raises(ConfigError, match="does not divide into tubelets"):
        load_foreign(vivit, num_frames=3)
    with pytest.raises(ConfigError, match="does not divide into tubelets"):
        load_foreign(vivit, image_size=40)
    with pytest.raises(WeightsError, match="3 class names are given, the classifier has 5 classes"):
        load_foreign(vivit, class_names=["a", "b", "c"])


def test_given_class_names_must_agree_with_the_sources(vivit: Path):
    config = json.loads((vivit / "config.json").read_text())
    (vivit / "config.json").write_text(json.dumps(config | {"id2label": {str(i): f"act {i}" for i in range(5)}}))
    assert load_foreign(vivit, class_names=[f"act {i}" for i in range(5)])[0].class_names[4] == "act 4"
    with pytest.raises(WeightsError, match="class 1 is 'act 1' in the source and 'act 2' in class_names"):
        load_foreign(vivit, class_names=["act 0", "act 2", "act 1", "act 3", "act 4"])


def test_scenic_positions_of_a_factorised_encoder_resize_apart(tmp_path: Path):
    flat = layouts.flax_tree(tiny_model("vivit_fe").state_dict(), num_heads=2)
    path = layouts.write_flax(tmp_path / "checkpoint", {"params": layouts.nest(flat)})
    _, report = load_foreign(path, num_frames=8, image_size=64)
    assert report.adapted == {
        "positions.pos_embed": "2x2 -> 4x4 (bicubic)",
        "temporal_positions.pos_embed": "2 -> 4 time steps (linear)",
    }
