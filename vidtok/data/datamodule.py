"""Training and validation loaders of a recipe, for Lightning's Trainer.

The Trainer needs ``use_distributed_sampler=False``: the samplers here know their rank.
"""

import logging
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vidtok.config import Recipe
from vidtok.data.augment import check_crop, check_twins
from vidtok.data.cache import FrameCache, Progress, decode_all
from vidtok.data.dataset import TrainDataset, ViewDataset
from vidtok.data.decode import DecodeLimits, PacketStore, check_engine, default_store
from vidtok.data.loader import EpochBatchSampler, ResumableLoader, heed_parent_only
from vidtok.data.manifest import Manifest, load_split
from vidtok.data.manifest.repeats import warn_of_shared
from vidtok.data.quarantine import Quarantine
from vidtok.data.swaps import resolve_swaps
from vidtok.errors import ConfigError, DataError
from vidtok.text import counted

logger = logging.getLogger(__name__)

QUARANTINE_FILE = "quarantine.csv"


class ClipDataModule(LightningDataModule):
    """Loads the lists of a recipe at once, so that wrong labels stop the run before a model exists.

    Training batches are those of :class:`TrainDataset`, with ``train.repeated_aug`` clips of each video after one
    another; an epoch still passes over every video once. Validation batches hold one centred view per video,
    and every rank validates its own share, none twice. Who consumes a batch calls
    ``quarantine.add_batch(batch, stage)``.

    Args:
        recipe: sections data, clip, augment, train, eval and run are used.
        run_folder: folder that ``quarantine.csv`` is written to; None writes none; see :meth:`write_to`.
        accumulate: batches per optimiser step, so that an epoch is a whole number of steps.
        progress: told about videos decoded into memory with ``data.cache: memory``.

    Attributes:
        train_manifest: the training list.
        val_manifest: the validation list, labels in the numbering of the training one; None when there is none.
        quarantine: unreadable videos, of all processes once these have told each other.

    Raises:
        DataError: lists or labels that cannot be used, fewer videos than devices.
        ConfigError: label swaps of classes that do not exist, a scale jitter smaller than the crop.
        EnvironmentFault: the decoder is not installed or does not load.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        run_folder: Path | None = None,
        accumulate: int = 1,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        data = recipe.data
        self.train_manifest = load_split(data, "train", num_classes=recipe.model.num_classes)
        self.num_classes = recipe.model.num_classes or self.train_manifest.num_classes
        self.class_names = self.train_manifest.class_names
        self._multi_hot = self.num_classes if data.multi_label else None
        self.val_manifest: Manifest | None = None
        if data.val is not None:
            self.val_manifest = load_split(data, "val", class_names=self.class_names, num_classes=self.num_classes)
            warn_of_shared(self.train_manifest.items, self.val_manifest.items, f"data.val: '{data.val}'")
        self.quarantine = Quarantine(
            run_folder and run_folder / QUARANTINE_FILE,
            num_videos=len(self.train_manifest.items) + (len(self.val_manifest.items) if self.val_manifest else 0),
            max_failures=data.max_failures,
        )
        _check_shares(self.train_manifest, self.val_manifest, recipe.run.devices * recipe.run.nodes)
        check_crop(recipe.augment, recipe.clip)
        check_twins(recipe.augment, recipe.train.repeated_aug)
        check_engine(data.decoder)
        if recipe.data.pixel_format != "rgb":
            _check_planes(recipe)
        self._swaps = resolve_swaps(recipe.augment, self.class_names, self.num_classes)
        self._recipe = recipe
        self._accumulate = accumulate
        self._progress = progress
        self._cache: FrameCache | None = None

    def write_to(self, run_folder: Path) -> None:
        """Write ``quarantine.csv`` to a run's folder, once that is known; for one process of a run."""
        self.quarantine.file = run_folder / QUARANTINE_FILE

    def train_dataloader(self) -> ResumableLoader:
        """Augmented training clips, in the order of :class:`EpochBatchSampler`."""
        recipe = self._recipe
        dataset = TrainDataset(
            self.train_manifest.items,
            clip=recipe.clip,
            augment=recipe.augment,
            swaps=self._swaps,
            seed=recipe.run.seed,
            decoder=recipe.data.decoder,
            short_side=recipe.data.decode_short_side,
            cache=self._filled_cache(),
            repeats=recipe.train.repeated_aug,
            multi_hot=self._multi_hot,
            packets=PacketStore(default_store(self.train_manifest.source)),
            pixel_format=recipe.data.pixel_format,
            limits=DecodeLimits.of(recipe.data),
        )
        sampler = self._sampler(*self._place())
        repeats = recipe.train.repeated_aug
        if sampler.batch_size * repeats < recipe.train.batch_size:
            logger.warning(
                "only %s: batches of %d per device, not train.batch_size=%d",
                counted(len(dataset), "training video"), sampler.batch_size * repeats, recipe.train.batch_size,
            )  # fmt: skip
        return ResumableLoader(dataset, sampler, workers=recipe.data.workers, pin_memory=self._pin_memory)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """One centred view per validation video of this rank.

        No loader when there is no list; the Trainer then needs ``limit_val_batches=0``.
        """
        if self.val_manifest is None:
            return []
        recipe = self._recipe
        dataset = ViewDataset(
            self.val_manifest.items,
            clip=recipe.clip,
            num_clips=1,
            num_crops=1,
            decoder=recipe.data.decoder,
            shuffle_seed=recipe.run.seed if recipe.augment.shuffle else None,
            multi_hot=self._multi_hot,
            limits=DecodeLimits.of(recipe.data),
        )
        rank, world_size = self._place()
        return DataLoader(
            dataset,
            batch_size=recipe.eval.batch_size,
            sampler=range(rank, len(dataset), world_size),
            num_workers=recipe.data.workers,
            persistent_workers=recipe.data.workers > 0,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),
            worker_init_fn=heed_parent_only,
        )

    def batches_per_epoch(self, world_size: int) -> int:
        """Training batches of one epoch on each of ``world_size`` devices, known before there is a Trainer."""
        return len(self._sampler(0, world_size))

    def _sampler(self, rank: int, world_size: int) -> EpochBatchSampler:
        return EpochBatchSampler(
            len(self.train_manifest.items),
            batch_size=self._recipe.train.batch_size // self._recipe.train.repeated_aug,
            seed=self._recipe.run.seed,
            rank=rank,
            world_size=world_size,
            accumulate=self._accumulate,
        )

    def _filled_cache(self) -> FrameCache | None:
        """Decode all training videos the first time; failures go to the quarantine at once."""
        data = self._recipe.data
        if data.cache == "none" or self._cache is not None:
            return self._cache
        self._cache = decode_all(
            [item.path for item in self.train_manifest.items],
            segments=[item.segment for item in self.train_manifest.items],
            decoder=data.decoder,
            short_side=data.decode_short_side,
            limits=DecodeLimits.of(data),
            progress=self._progress,
        )
        for index, cause in self._cache.failures.items():
            self.quarantine.add(self.train_manifest.items[index].name, cause, "cache")
        return self._cache

    def _place(self) -> tuple[int, int]:
        """(rank, number of ranks) of this process."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def _pin_memory(self) -> bool:
        return self._recipe.run.device != "cpu" and torch.cuda.is_available()


def _check_shares(train: Manifest, val: Manifest | None, num_devices: int) -> None:
    """Raises DataError when a device would have no video of a list."""
    for name, manifest in (("training", train), ("validation", val)):
        if manifest is not None and len(manifest.items) < num_devices:
            raise DataError(
                f"{manifest.source}: {counted(len(manifest.items), f'{name} video')} cannot be shared by "
                f"{counted(num_devices, 'device')}; use fewer devices"
            )


def _check_planes(recipe: Recipe) -> None:
    """Raises ConfigError for what cannot be done on YUV planes."""
    augment = recipe.augment
    changes = {"color_jitter": augment.color_jitter, "grayscale": augment.grayscale, "erase": augment.erase}
    wrong = [f"augment.{name}={value}" for name, value in changes.items() if value]
    wrong += [f"augment.randaugment={augment.randaugment}"] if augment.randaugment else []
    wrong += ["data.cache=memory"] if recipe.data.cache == "memory" else []
    wrong += [f"clip.size={recipe.clip.size}"] if recipe.clip.size % 2 else []
    if wrong:
        raise ConfigError(
            f"data.pixel_format: yuv420 does not go with {wrong[0]}: colours are changed and clips cached as RGB, and "
            "planes need an even size; use rgb, or leave that out"
        )
