"""``fit``: from a recipe to a trained checkpoint, and back into an interrupted run."""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from vidtok.config import Recipe
from vidtok.configio import dump
from vidtok.data.datamodule import ClipDataModule
from vidtok.engine.announce import announce
from vidtok.engine.boundaries import Boundaries
from vidtok.engine.budgets import check_budgets
from vidtok.engine.callbacks import Meter
from vidtok.engine.checkpoints import CheckpointFiles
from vidtok.engine.failures import FailureBudget, StopOnDivergence
from vidtok.engine.interruption import Interruption
from vidtok.engine.module import ClassificationModule
from vidtok.engine.predict import Compute, choose_compute
from vidtok.engine.ranks import Ranks
from vidtok.engine.receipt import fingerprint, receipt
from vidtok.engine.runlog import make_loggers
from vidtok.engine.runs import (
    CONFIG_FILE,
    RECEIPT_FILE,
    config_changes,
    find_checkpoint,
    finished_steps,
    judge,
    list_changes,
    make_run_folder,
    now_utc,
    read_config,
    read_receipt,
    runs_of,
    say,
)
from vidtok.errors import ConfigError, EnvironmentFault, WeightsError
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model
from vidtok.models.checkpoint import first_line, read_ckpt
from vidtok.models.pretrained.start import start_from
from vidtok.outputs import check_writable, write_whole
from vidtok.text import counted, to_json

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def fit(recipe: Recipe, *, resume: str | None = None, resume_anyway: bool = False, dry_run: bool = False) -> Path:
    """Train a recipe and return its run folder, the same one in every process of the run.

    The folder holds ``config.yaml`` (resolved, enough alone), ``receipt.json``, ``metrics.csv``, TensorBoard
    events, ``best.ckpt`` (highest val/top1@1x1, or val/map@1x1), ``last.ckpt``, the one before it and
    ``quarantine.csv``. A finished run that is resumed is left as it is.

    In a main thread SIGINT and SIGTERM are answered until it returns: at the end of a step with a checkpoint, at once
    where no step is under way.

    Args:
        recipe: the resolved recipe.
        resume: ``auto`` to go on with the newest run of this recipe, or start it; or a checkpoint or run folder.
        resume_anyway: go on although model, lists, batch or optimiser are not what the run was begun with.
        dry_run: check recipe, lists and model, print what would run, write nothing.

    Raises:
        ConfigError, DataError, WeightsError, EnvironmentFault: before the first step.
        DivergedError: a loss was not finite.
        Interrupted: Ctrl-C or SIGTERM; the message names the newest checkpoint.
    """
    interruption = Interruption()
    with interruption.listening():
        return _fit(recipe, interruption, resume=resume, resume_anyway=resume_anyway, dry_run=dry_run)


def _fit(recipe: Recipe, interruption: Interruption, *, resume: str | None, resume_anyway: bool, dry_run: bool) -> Path:
    compute, accumulate = _choose_compute(recipe), accumulation(recipe)
    ranks = Ranks(devices=recipe.run.devices, nodes=recipe.run.nodes)
    found = ranks.agree(lambda: _find_start(recipe, resume, anyway=resume_anyway, dry_run=dry_run))
    checkpoint = Path(found) if found else None
    data = ClipDataModule(recipe, accumulate=accumulate, progress=_say_decoded if ranks.is_first else None)
    steps_per_epoch, total_steps = _count_steps(recipe, data, accumulate)
    begun: Mapping[str, Any] = {}  # read and checked once: it may hold gigabytes
    if checkpoint is not None:
        ranks.agree(lambda: _check_lists(checkpoint.parent, data, anyway=resume_anyway))
        begun = read_ckpt(checkpoint)
        if (steps := finished_steps(begun, total_steps)) is not None:
            if ranks.is_first:
                say(f"already finished after {counted(steps, 'step')}; to train longer, raise train.epochs")
            return checkpoint.parent
    torch.manual_seed(recipe.run.seed)
    module = _make_module(recipe, data, steps_per_epoch=steps_per_epoch, total_steps=total_steps)
    if checkpoint is not None:
        _check_fits(module, begun["state_dict"], checkpoint)
    folder = Path(ranks.agree(lambda: str(_choose_folder(recipe, checkpoint, dry_run=dry_run))) or "")
    if ranks.is_first:
        announce(recipe, data, module, compute, folder)
    if dry_run:
        return folder
    if ranks.is_first:
        data.write_to(folder)
        _write_inputs(recipe, data, compute, folder)
    files = CheckpointFiles(folder)
    interruption.newest = files.newest
    trainer = _make_trainer(recipe, data, module, compute, files, interruption, begun)
    begun = {}
    interruption.before_starting_ranks()
    with ranks.leading(), _worker_deaths(interruption):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return folder


def _choose_compute(recipe: Recipe) -> Compute:
    """Device and precision. Raises EnvironmentFault when there are too few GPUs."""
    compute = choose_compute(recipe.run.device, recipe.run.precision)
    if compute.device.type == "cuda" and recipe.run.devices > torch.cuda.device_count():
        raise EnvironmentFault(f"run.devices is {recipe.run.devices}, but there are {torch.cuda.device_count()} GPUs")
    return compute


def _find_start(recipe: Recipe, resume: str | None, *, anyway: bool, dry_run: bool) -> str | None:
    """The checkpoint to go on from, None for a new run, once its folder takes files and the settings are the same.

    Raises:
        ConfigError: the settings have changed, and not ``anyway``.
        WeightsError, EnvironmentFault: no intact checkpoint; a folder that cannot be written.
    """
    checkpoint = find_checkpoint(recipe, resume) if resume else None
    if not dry_run:
        check_writable(checkpoint.parent if checkpoint else runs_of(recipe))
    if checkpoint is None:
        return None
    before = read_config(checkpoint.parent)
    if before is None:
        say(f"warning: {checkpoint.parent} has no {CONFIG_FILE} that can be read; settings are not compared")
        return str(checkpoint)
    judge(config_changes(before, recipe.model_dump(mode="json")), anyway=anyway)
    return str(checkpoint)


def _check_lists(run: Path, data: ClipDataModule, *, anyway: bool) -> None:
    """Raises ConfigError when a run was begun with other lists, and not ``anyway``."""
    before = read_receipt(run)
    if before is None:
        say(f"warning: {run} has no {RECEIPT_FILE} that can be read; the lists are not compared")
        return
    judge(list_changes(before, _fingerprints(data)), anyway=anyway)


def _fingerprints(data: ClipDataModule) -> dict[str, dict[str, Any] | None]:
    """Of both lists, as the receipt names them."""
    lists = {"data": data.train_manifest, "val": data.val_manifest}
    return {name: None if manifest is None else fingerprint(manifest) for name, manifest in lists.items()}


def _choose_folder(recipe: Recipe, checkpoint: Path | None, *, dry_run: bool) -> Path:
    return checkpoint.parent if checkpoint else make_run_folder(recipe, dry_run=dry_run)


def _check_fits(module: ClassificationModule, theirs: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Raises WeightsError when a checkpoint holds the weights of another model."""
    ours = module.state_dict()
    wrong = sorted(key for key in theirs.keys() | ours.keys() if _shape(theirs, key) != _shape(ours, key))
    if wrong:
        raise WeightsError(
            f"--resume: {checkpoint} holds another model: {wrong[0]} is {_shape(theirs, wrong[0])} there and "
            f"{_shape(ours, wrong[0])} here; give it as model.pretrained instead"
        )


def _shape(weights: Mapping[str, Tensor], key: str) -> list[int] | str:
    return list(weights[key].shape) if key in weights else "absent"


def accumulation(recipe: Recipe) -> int:
    """Batches per optimiser step that give ``train.effective_batch``. Raises ConfigError when none does."""
    train, run = recipe.train, recipe.run
    at_once = train.batch_size * run.devices * run.nodes
    effective = train.effective_batch or at_once
    if effective % at_once:
        raise ConfigError(
            f"train.effective_batch {effective} is not a multiple of the {at_once} clips of one batch on all devices "
            f"(train.batch_size {train.batch_size} x {run.devices} devices x {run.nodes} nodes)"
        )
    return effective // at_once


def make_model(recipe: Recipe, data: ClipDataModule) -> VideoModel:
    """The recipe's model with the data's classes, from ``model.pretrained`` if given. Raises WeightsError."""
    classes = data.num_classes
    if recipe.model.pretrained is None:
        model = build_model(recipe.model, recipe.clip, num_classes=classes, eval_protocol=recipe.eval)
    else:
        model, table = start_from(
            recipe.model.pretrained,
            recipe.model,
            recipe.clip,
            num_classes=classes,
            class_names=data.class_names,
            protocol=recipe.eval,
        )
        print(table, file=sys.stderr)
    model.class_names, model.multi_label = data.class_names, recipe.data.multi_label
    return model.train()


def _count_steps(recipe: Recipe, data: ClipDataModule, accumulate: int) -> tuple[int, int]:
    """(optimiser steps of an epoch, of the whole run)."""
    train, run = recipe.train, recipe.run
    steps_per_epoch = -(-data.batches_per_epoch(run.devices * run.nodes) // accumulate)
    return steps_per_epoch, min(train.epochs * steps_per_epoch, train.max_steps or sys.maxsize)


def _make_module(
    recipe: Recipe, data: ClipDataModule, *, steps_per_epoch: int, total_steps: int
) -> ClassificationModule:
    model = make_model(recipe, data)
    check_budgets(model, recipe.eval.budgets, key="eval.budgets")
    module = ClassificationModule(
        model,
        recipe.train,
        augment=recipe.augment,
        seed=recipe.run.seed,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
    )
    if recipe.run.compile:
        module.compile_heads()
    return module


def _make_trainer(
    recipe: Recipe,
    data: ClipDataModule,
    module: ClassificationModule,
    compute: Compute,
    files: CheckpointFiles,
    interruption: Interruption,
    begun: Mapping[str, Any],
) -> L.Trainer:
    train, run = recipe.train, recipe.run
    _quieten()
    meter = Meter(
        every_steps=train.log_every,
        total_steps=module.total_steps,
        epochs=train.epochs,
        clips_per_batch=train.batch_size,
    )
    boundaries = Boundaries(
        files,
        interruption,
        total_steps=module.total_steps,
        val_every=train.val_every if data.val_manifest else 0,
        every_steps=train.checkpoint_every,
        every_seconds=60 * train.checkpoint_minutes,
    )
    loggers = make_loggers(
        recipe.logger,
        files.folder,
        step=begun.get("global_step", 0),
        owes_validation=begun.get("vidtok", {}).get("validation") == "pending",
    )
    return L.Trainer(
        accelerator="gpu" if compute.device.type == "cuda" else "cpu",
        devices=run.devices,
        num_nodes=run.nodes,
        strategy="ddp" if run.devices * run.nodes > 1 else "auto",
        precision=_PRECISION[compute.precision],
        max_epochs=-1,  # the boundaries end the training, and validate
        check_val_every_n_epoch=sys.maxsize,
        limit_val_batches=1.0 if data.val_manifest else 0,
        accumulate_grad_batches=accumulation(recipe),
        gradient_clip_val=train.clip_grad,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FailureBudget(data), StopOnDivergence(files.folder), meter, boundaries],
        plugins=[files],
        logger=loggers,
    )


@contextmanager
def _worker_deaths(interruption: Interruption) -> Iterator[None]:
    """A loader worker that the system ended is the machine's fault, and one line.

    Raises:
        Interrupted: somebody wants the training to end anyway.
        EnvironmentFault: nobody does.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        if interruption.is_requested:
            raise interruption.error() from None
        raise EnvironmentFault(
            f"{first_line(error)}: most often memory has run out; lower data.workers, and continue with --resume"
        ) from None


def _write_inputs(recipe: Recipe, data: ClipDataModule, compute: Compute, folder: Path) -> None:
    """``config.yaml`` and ``receipt.json``, before the first step; a resumed run keeps when it was started."""
    started = (read_receipt(folder) or {}).get("started_utc") or now_utc()
    facts = receipt(compute=compute, seed=recipe.run.seed, decoder=recipe.data.decoder, started_utc=started)
    write_whole(folder / CONFIG_FILE, dump(recipe))
    write_whole(folder / RECEIPT_FILE, to_json(facts | _fingerprints(data), indent=2) + "\n")


def _say_decoded(done: int, total: int) -> None:
    if done == total or done % max(total // 5, 1) == 0:
        print(f"decoded {done}/{total} training videos into memory", file=sys.stderr)


def _quieten() -> None:
    """Silence Lightning's advice that does not apply: loaders, checkpoints and logs are ours."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for text in (
        r".*does not have many workers.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*Experiment logs directory .* exists.*",
        r"The ``compute`` method of metric .* was called before the ``update`` method.*",  # a rank that read nothing
        r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=text)
