"""Loaders of a recipe in Lightning's hands: names agree, streams resume, failures are counted."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.data.fake_engines import AbsentReader
from tests.data.videos import write_counter
from vidtok.config import AugmentConfig, ClipConfig, DataConfig, EvalConfig, ModelConfig, Recipe, RunConfig, TrainConfig
from vidtok.configio import load_recipe
from vidtok.data.datamodule import ClipDataModule
from vidtok.data.decode import ENGINES
from vidtok.data.decode.isolated import IsolatedReader
from vidtok.errors import ConfigError, DataError, EnvironmentFault

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning"),  # Lightning's own use of torch
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*number of training batches"),
]

NAMES = ["left", "right"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 training and 5 validation videos with lists and class names."""
    folder = tmp_path_factory.mktemp("set")
    for split, count in (("train", 10), ("val", 5)):
        files = [write_counter(folder / split / f"{i}.mp4", frames=6, height=16, width=16) for i in range(count)]
        lines = [f"{file.relative_to(folder)},{i % 2}" for i, file in enumerate(files)]
        (folder / f"{split}.csv").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def recipe(folder: Path, **sections: dict[str, Any]) -> Recipe:
    data = {"train": str(folder / "train.csv"), "val": str(folder / "val.csv"), "workers": 0, "decode_short_side": None}
    return Recipe(
        model=ModelConfig(**sections.get("model", {})),
        data=DataConfig(**(data | sections.get("data", {}))),
        clip=ClipConfig(frames=2, stride=1, size=16),
        augment=AugmentConfig(**sections.get("augment", {})),
        train=TrainConfig(**({"batch_size": 2} | sections.get("train", {}))),
        eval=EvalConfig(batch_size=2),
        run=RunConfig(device="cpu", **sections.get("run", {})),
    )


class Recorder(LightningModule):
    """A model of one weight that writes down the videos of every step and validation batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.steps: list[list[int]] = []
        self.validated: list[int] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.steps.append(batch["index"].tolist())
        return self.weight * batch["clip"].float().mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.validated += batch["index"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAndStop(Callback):
    """Writes a checkpoint after some step and stops."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def run(
    data: ClipDataModule, *, callbacks: Sequence[Callback] = (), resume: Path | None = None, **limits: int
) -> Recorder:
    module = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        **limits,
    )
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return module


def test_every_epoch_trains_on_each_video_once_in_a_new_order_and_validates_all(folder: Path) -> None:
    done = run(ClipDataModule(recipe(folder)), max_epochs=2)
    first, second = (list(chain.from_iterable(steps)) for steps in (done.steps[:5], done.steps[5:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert done.validated == list(range(5)) * 2


@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_steps": 13}], ids=["epochs", "steps"])
@pytest.mark.parametrize(("step", "workers"), [(2, 0), (5, 0), (7, 0), (10, 0), (7, 1)])  # an epoch is 5 steps
def test_a_resumed_run_sees_the_videos_that_an_uninterrupted_one_sees(
    folder: Path, tmp_path: Path, step: int, limit: dict[str, int], workers: int
) -> None:
    settings = recipe(folder, data={"workers": workers})
    whole = run(ClipDataModule(recipe(folder)), **limit)
    checkpoint = tmp_path / "last.ckpt"
    head = run(ClipDataModule(settings), callbacks=[SaveAndStop(step, checkpoint)], **limit)
    tail = run(ClipDataModule(settings), resume=checkpoint, **limit)
    assert head.steps == whole.steps[:step]
    assert tail.steps == whole.steps[step:]


def test_names_travel_from_the_training_list_to_the_validation_list(folder: Path, tmp_path: Path) -> None:
    for name in ("right", "left"):
        write_counter(tmp_path / "val" / name / "1.mp4", frames=2, height=16, width=16)
    (tmp_path / "val" / "classes.txt").write_text("right\nleft\n")  # another numbering
    data = ClipDataModule(recipe(folder, data={"val": str(tmp_path / "val")}))
    assert data.class_names == tuple(NAMES) and data.num_classes == 2
    assert data.val_manifest is not None
    labels = {Path(item.path).parent.name: item.label for item in data.val_manifest.items}
    assert labels == {"left": 0, "right": 1}


def test_wrong_labels_and_swaps_stop_before_any_model_exists(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 class names, but 3 classes are expected"):
        ClipDataModule(recipe(folder, model={"num_classes": 3}))
    with pytest.raises(ConfigError, match="'rigth' is not one of the class names .*'right'"):
        ClipDataModule(recipe(folder, augment={"hflip_swaps": [["left", "rigth"]]}))
    (tmp_path / "val.csv").write_text(f"{folder}/val/0.mp4 0\n{folder}/val/1.mp4 2\n")
    with pytest.raises(DataError, match=r"val\.csv row 2: label 2, but there are 2 classes \(0-1\)"):
        ClipDataModule(recipe(folder, data={"val": str(tmp_path / "val.csv")}))


def test_a_number_of_classes_bounds_labels_without_names(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f"{folder}/train/0.mp4 0\n{folder}/train/1.mp4 4\n")
    assert ClipDataModule(recipe(folder, data={"train": str(path), "val": None})).num_classes == 5
    lists = {"train": str(path), "val": None}
    assert ClipDataModule(recipe(folder, data=lists, model={"num_classes": 9})).num_classes == 9
    with pytest.raises(DataError, match="row 2: label 4, but there are 3 classes"):
        ClipDataModule(recipe(folder, data=lists, model={"num_classes": 3}))


def test_validation_shares_are_disjoint_complete_and_not_padded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ClipDataModule(recipe(folder))
    shares = []
    for rank in range(3):
        monkeypatch.setattr(data, "trainer", type("Place", (), {"global_rank": rank, "world_size": 3})())
        shares += [index for batch in data.val_dataloader() for index in batch["index"].tolist()]
    assert sorted(shares) == list(range(5))


def test_a_run_without_a_validation_list_trains(folder: Path) -> None:
    data = ClipDataModule(recipe(folder, data={"val": None}))
    assert data.val_manifest is None and data.val_dataloader() == []
    assert len(run(data, max_epochs=1, limit_val_batches=0).steps) == data.batches_per_epoch(1) == 5


def test_fewer_videos_than_a_batch_make_a_smaller_batch_and_say_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ClipDataModule(recipe(folder, train={"batch_size": 64}))
    assert [len(batch["index"]) for batch in data.train_dataloader()] == [10]
    assert "only 10 training videos: batches of 10 per device, not train.batch_size=64" in caplog.text


def test_a_decoder_that_is_not_installed_stops_before_any_model_exists(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "decord", partial(IsolatedReader, AbsentReader))
    with pytest.raises(EnvironmentFault, match="not installed"):
        ClipDataModule(recipe(folder, data={"decoder": "decord"}))


def test_repeated_augmentation_fills_a_batch_with_fewer_videos(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = recipe(folder, train={"batch_size": 4, "repeated_aug": 2}, augment={"vflip": 0.5})
    data = ClipDataModule(settings)
    assert data.batches_per_epoch(1) == 5 and data.batches_per_epoch(2) == 2  # 10 videos, 2 to a batch
    batches = [batch["index"].tolist() for batch in data.train_dataloader()]
    assert all(len(batch) == 4 and batch[::2] == batch[1::2] for batch in batches)
    assert sorted(index for batch in batches for index in batch) == sorted([*range(10), *range(10)])
    assert not caplog.text
    many = ClipDataModule(recipe(folder, train={"batch_size": 64, "repeated_aug": 4}))
    assert [len(batch["index"]) for batch in many.train_dataloader()] == [40]
    assert "only 10 training videos: batches of 40 per device, not train.batch_size=64" in caplog.text
    with pytest.raises(ConfigError, match="train: batch_size 6 is not a multiple of repeated_aug 4$"):
        load_recipe("k400_lookup", ["train.batch_size=6", "train.repeated_aug=4"])


def test_twins_of_an_odd_number_of_clips_stop_before_any_model_exists(folder: Path) -> None:
    ClipDataModule(recipe(folder, train={"batch_size": 4, "repeated_aug": 2}, augment={"reverse_twins": True}))
    with pytest.raises(ConfigError, match=r"needs an even train\.repeated_aug, not 1; set train\.repeated_aug=2$"):
        ClipDataModule(recipe(folder, augment={"reverse_twins": True}))


def test_a_scale_jitter_smaller_than_the_crop_stops_before_any_model_exists(folder: Path) -> None:
    with pytest.raises(ConfigError, match="jitter_scales begins at 10 pixels, less than clip.size 16"):
        ClipDataModule(recipe(folder, augment={"jitter_scales": [10, 20]}))


def test_unreadable_videos_reach_the_quarantine_of_the_run(folder: Path, tmp_path: Path) -> None:
    broken = [tmp_path / f"{name}.mp4" for name in "ab"]
    for path in broken:
        path.write_bytes(b"no video" * 99)
    rows = [f"{folder}/train/{i}.mp4,0" for i in range(6)] + [f"{path},1" for path in broken]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    for options in ({"cache": "none"}, {"cache": "memory"}):
        lists = {"train": str(tmp_path / "train.csv"), "max_failures": 0.2}
        data = ClipDataModule(recipe(folder, data=lists | options), run_folder=tmp_path / options["cache"])
        for batch in data.train_dataloader():
            data.quarantine.add_batch(batch, "train")
        assert sorted(data.quarantine.causes) == sorted(map(str, broken))
        assert len((tmp_path / options["cache"] / "quarantine.csv").read_text().splitlines()) == 3
    strict = ClipDataModule(recipe(folder, data=lists | {"cache": "memory", "max_failures": 0.001}))
    with pytest.raises(DataError, match=r"2 of 13 videos are unreadable, data\.max_failures=0\.001 allows 1"):
        strict.train_dataloader()


def test_cached_and_decoded_training_see_the_same_clips(folder: Path) -> None:
    told: list[int] = []
    plain, cached = (
        ClipDataModule(
            recipe(folder, data={"cache": cache}), progress=lambda done, _: told.append(done)
        ).train_dataloader()
        for cache in ("none", "memory")
    )
    assert told == list(range(1, 11))
    for one, other in zip(plain, cached, strict=True):
        assert torch.equal(one["clip"], other["clip"]) and one["path"] == other["path"]


def test_shuffling_for_control_reaches_validation(folder: Path) -> None:
    plain, shuffled = (
        torch.cat(
            [batch["frames"] for batch in ClipDataModule(recipe(folder, augment={"shuffle": on})).val_dataloader()]
        )
        for on in (False, True)
    )
    assert not torch.equal(plain, shuffled) and torch.equal(plain, shuffled.sort().values)
