"""Conversion as a user sees it: folders, the hub's cache, the table, and what a model is fed."""

import json
from pathlib import Path

import pytest
import torch

import vidtok
from tests.models.test_pretrained_hf import LIBRARY, SIZES, perturbed, saved
from tests.models.test_pretrained_official import deit_weights
from vidtok.data.transforms import normalise
from vidtok.errors import WeightsError
from vidtok.models.checkpoint import load, read_safetensors
from vidtok.models.pretrained import Hints, convert, load_foreign
from vidtok.models.pretrained.hf import fed_range
from vidtok.models.pretrained.report import fold


def black_and_white(clip: object) -> tuple[list[float], list[float]]:
    """What each channel of a black and of a white clip becomes under a model's preprocessing."""
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1, 1).expand(2, 3, 1, 1, 1)
    values = normalise(pixels, clip.mean, clip.std)[:, :, 0, 0, 0]  # [2, 3]
    return values[0].tolist(), values[1].tolist()


IMAGENET_BLACK, IMAGENET_WHITE = [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.64]
FED = {  # family: black, white
    "vivit": ([-1.0] * 3, [1.0] * 3),
    "divided_space_time": ([-2.0] * 3, [2.4444] * 3),
    "videomae": (IMAGENET_BLACK, IMAGENET_WHITE),
}


@pytest.mark.parametrize("family", FED)
def test_black_and_white_become_what_the_weights_were_trained_on(family: str, tmp_path: Path):
    perturbed(LIBRARY[family](**SIZES["small"])).save_pretrained(tmp_path)
    black, white = black_and_white(load(tmp_path).preprocessing)
    assert black == pytest.approx(FED[family][0], abs=1e-4)
    assert white == pytest.approx(FED[family][1], abs=1e-4)


@pytest.mark.parametrize(("preset", "black"), [("half", [-1.0] * 3), ("imagenet", IMAGENET_BLACK)])
def test_presets_of_image_models_feed_black_right(preset: str, black: list[float], tmp_path: Path):
    torch.save(deit_weights(), tmp_path / "mine.pth")
    model, _ = load_foreign(tmp_path / "mine.pth", hints=Hints(preset=preset))
    assert black_and_white(model.preprocessing)[0] == pytest.approx(black, abs=1e-4)


BROKEN_VIVIT = {  # google/vivit-b-16x2-kinetics400
    "do_normalize": True,
    "do_rescale": True,
    "offset": True,
    "rescale_factor": 1 / 127.5,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def test_the_broken_range_of_the_published_vivit_is_not_taken_over(tmp_path: Path):
    assert fed_range(BROKEN_VIVIT) == pytest.approx((-3, 1))
    folder = saved(tmp_path)
    (folder / "preprocessor_config.json").write_text(json.dumps(BROKEN_VIVIT))
    model, report = load_foreign(folder)
    assert black_and_white(model.preprocessing)[0] == pytest.approx([-1] * 3)
    assert "would feed black as -3 and white as 1; the weights were trained on -1 and 1" in report.table()
    right = BROKEN_VIVIT | {"do_normalize": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(right))
    assert not load_foreign(folder)[1].notes


def test_videomaes_processor_is_believed(tmp_path: Path):
    perturbed(LIBRARY["videomae"](**SIZES["small"])).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    assert load(tmp_path).preprocessing.mean == (0.5, 0.5, 0.5)


PROTOCOLS = {  # family: (sampling, stride, clips, crops) on Kinetics, then on Something-Something
    "vivit": (("scenic", 2, 4, 3), ("scenic", 2, 4, 3)),
    "divided_space_time": (("timesformer", 32, 1, 3), ("uniform", 32, 1, 3)),
    "videomae": (("videomae", 4, 5, 3), ("videomae_ssv2", 4, 2, 3)),
}


@pytest.mark.parametrize("family", PROTOCOLS)
def test_sampling_and_test_protocol_are_the_papers(family: str, tmp_path: Path):
    for num_classes, want in zip((400, 174), PROTOCOLS[family], strict=True):
        size = SIZES["small"] | {"num_labels": num_classes, "num_frames": 8}
        folder = tmp_path / str(num_classes)
        LIBRARY[family](**size).save_pretrained(folder)
        model = load(folder)
        clip, protocol = model.preprocessing, model.eval_protocol
        assert (clip.sampling, clip.stride, protocol.clips, protocol.crops) == want


def test_a_converted_folder_is_ours_and_gives_the_same_logits(tmp_path: Path):
    names = ["jump", "run", "sit", "stand", "walk"]
    source = saved(tmp_path / "src", id2label={str(i): name for i, name in enumerate(names)})
    report = convert(source, tmp_path / "out")
    before, after = load(source), load(tmp_path / "out")
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(before(clip), after(clip))
    assert after.class_names == tuple(names) and after.preprocessing == before.preprocessing
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert report.loaded["positions.cls_token"] == ("vivit.embeddings.cls_token",)


def test_nothing_is_overwritten(tmp_path: Path):
    source = saved(tmp_path / "src")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(WeightsError, match="is not an empty folder"):
        convert(source, tmp_path / "out")
    with pytest.raises(WeightsError, match="is not an empty folder"):
        convert(source, tmp_path / "out" / "precious")


def test_every_name_of_both_sides_is_in_the_report(tmp_path: Path):
    torch.save({"model": deit_weights()}, tmp_path / "deit.pth")
    model, report = load_foreign(tmp_path / "deit.pth", backbone="vivit_fe", num_frames=4, num_classes=2)
    ours = report.loaded.keys() | report.adapted.keys() | report.new.keys()
    assert ours == model.state_dict().keys()
    assert len(report.loaded) + len(report.adapted) + len(report.new) == len(ours)
    used = {key for keys in report.loaded.values() for key in keys}
    assert used | {"patch_embed.proj.weight"} | report.unused.keys() == deit_weights().keys()


def test_the_table_counts_and_folds_blocks(tmp_path: Path):
    torch.save({"model": deit_weights()}, tmp_path / "deit.pth")
    _, report = load_foreign(tmp_path / "deit.pth", backbone="timesformer", num_frames=4, num_classes=2)
    lines = report.table().splitlines()
    assert lines[0].endswith("(timm) -> timesformer, 4 frames of 32 pixels, 2 classes")
    assert lines[1].split() == ["loaded", str(len(report.loaded))]
    assert "                encoder.blocks.*.temporal_attn.qkv (4): copied from attn.qkv" in lines
    assert "                head (2): classifier of 5 classes, 2 are wanted" in lines
    assert fold({"a.0.w": "x", "a.1.w": "x", "a.2.w": "y"}) == [("a.*.w (2)", "x"), ("a.*.w", "y")]


def fake_hub(root: Path, name: str, folder: Path) -> None:
    """Lay a folder out as the hub's cache has it: blobs, a snapshot of links, and the branch that names it."""
    repo = root / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("0" * 40)
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_cached_hub_model_loads_offline(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = saved(tmp_path / "src")
    want = load(folder).state_dict()
    if weights == "pytorch_model.bin":
        torch.save(read_safetensors(folder / "model.safetensors"), folder / weights)
        (folder / "model.safetensors").unlink()
    fake_hub(tmp_path / "home", "google/vivit-b-16x2-kinetics400", folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = vidtok.load("hf://google/vivit-b-16x2-kinetics400")
    assert all(torch.equal(value, want[name]) for name, value in model.state_dict().items())
    report = convert("hf://google/vivit-b-16x2-kinetics400", tmp_path / "out")
    assert report.source == "hf://google/vivit-b-16x2-kinetics400"


def test_an_uncached_hub_model_tells_two_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"not in the local cache .* either run `hf download org/name`"):
        vidtok.load("hf://org/name")


def test_kinetics_names_out_of_order_are_remarked(shared_data: Path, tmp_path: Path):
    names = (shared_data / "labels" / "kinetics400.txt").read_text().splitlines()
    size = SIZES["small"] | {"num_labels": 400}
    LIBRARY["vivit"](**size).save_pretrained(tmp_path)
    model, report = load_foreign(tmp_path, class_names=names)
    assert model.class_names[0] == "abseiling" and not report.notes
    _, report = load_foreign(tmp_path, class_names=[*names[1:], names[0]])
    assert "alphabetical" in report.table()
