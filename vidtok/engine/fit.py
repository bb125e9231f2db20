"""``fit``: from a recipe to a trained checkpoint, and back into an interrupted run."""

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only

from vidtok import __version__
from vidtok.config import Recipe, format_budget
from vidtok.configio import differences, dump, parse_yaml
from vidtok.data.datamodule import ClipDataModule
from vidtok.engine.boundaries import Boundaries
from vidtok.engine.budgets import check_budgets
from vidtok.engine.callbacks import FailureBudget, Meter, StopOnDivergence
from vidtok.engine.checkpoints import LAST, CheckpointFiles
from vidtok.engine.interruption import Interruption
from vidtok.engine.module import ClassificationModule
from vidtok.engine.predict import Compute, choose_compute
from vidtok.engine.receipt import device_name, fingerprint, receipt
from vidtok.engine.runlog import make_loggers
from vidtok.errors import ConfigError, EnvironmentFault, WeightsError
from vidtok.models.backbones import TokenCount, VideoModel
from vidtok.models.build import build_model
from vidtok.models.checkpoint import first_line, read_ckpt
from vidtok.models.pretrained.start import start_from
from vidtok.models.profile import count_gmacs, count_params

CONFIG_FILE = "config.yaml"
RUN_FOLDER = "VIDTOK_RUN_FOLDER"
_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def fit(recipe: Recipe, *, resume: str | None = None, dry_run: bool = False) -> Path:
    """Train a recipe and return its run folder.

    The folder holds ``config.yaml`` (resolved, enough alone), ``receipt.json``, ``metrics.csv``, TensorBoard
    events, ``best.ckpt`` (highest val/top1@1x1, or val/map@1x1), ``last.ckpt``, the one before it and
    ``quarantine.csv``.

    In a main thread SIGINT and SIGTERM are answered until it returns: at the end of a step with a checkpoint, at once
    where no step is under way.

    Args:
        recipe: the resolved recipe.
        resume: ``auto`` for the newest run of this recipe, or a ``last.ckpt`` or run folder.
        dry_run: check recipe, lists and model, print what would run, write nothing.

    Raises:
        ConfigError, DataError, WeightsError, EnvironmentFault: before the first step.
        DivergedError: a loss was not finite.
        Interrupted: Ctrl-C or SIGTERM; the message names the newest checkpoint.
    """
    interruption = Interruption()
    with interruption.listening():
        return _fit(recipe, interruption, resume=resume, dry_run=dry_run)


def _fit(recipe: Recipe, interruption: Interruption, *, resume: str | None, dry_run: bool) -> Path:
    compute = choose_compute(recipe.run.device, recipe.run.precision)
    if compute.device.type == "cuda" and recipe.run.devices > torch.cuda.device_count():
        raise EnvironmentFault(f"run.devices is {recipe.run.devices}, but there are {torch.cuda.device_count()} GPUs")
    checkpoint = find_checkpoint(recipe, resume) if resume else None
    folder = checkpoint.parent if checkpoint else _new_folder(recipe)
    if checkpoint and rank_zero_only.rank == 0:
        _warn_of_changes(recipe, folder)
    accumulate = accumulation(recipe)
    data = ClipDataModule(recipe, run_folder=folder, accumulate=accumulate, progress=_say_decoded)
    torch.manual_seed(recipe.run.seed)
    module = _make_module(recipe, data, accumulate)
    if rank_zero_only.rank == 0:
        _start_block(recipe, data, module, compute, folder)
    if dry_run:
        return folder
    if rank_zero_only.rank == 0:
        _write_inputs(recipe, data, compute, folder)
    files = CheckpointFiles(folder)
    interruption.newest = files.newest
    trainer = _make_trainer(recipe, data, module, compute, files, interruption, checkpoint)
    interruption.before_starting_ranks()
    with _worker_deaths():
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return folder


def _warn_of_changes(recipe: Recipe, folder: Path) -> None:
    """Say which keys differ from those that a run was begun with: it then does not go on as it would have."""
    begun = folder / CONFIG_FILE
    if not begun.is_file():
        return
    before = parse_yaml(begun.read_text(encoding="utf-8"), str(begun))
    for key, was, now in differences(before, recipe.model_dump(mode="json")):
        print(f"warning: {key} is {now} now; the run was begun with {was}", file=sys.stderr)


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
            recipe.model.pretrained, recipe.model, recipe.clip, num_classes=classes, protocol=recipe.eval
        )
        print(table, file=sys.stderr)
    model.class_names, model.multi_label = data.class_names, recipe.data.multi_label
    return model.train()


def _make_module(recipe: Recipe, data: ClipDataModule, accumulate: int) -> ClassificationModule:
    train, run = recipe.train, recipe.run
    steps_per_epoch = -(-data.batches_per_epoch(run.devices * run.nodes) // accumulate)
    total = min(train.epochs * steps_per_epoch, train.max_steps or sys.maxsize)
    model = make_model(recipe, data)
    check_budgets(model, recipe.eval.budgets, key="eval.budgets")
    module = ClassificationModule(
        model,
        train,
        augment=recipe.augment,
        seed=run.seed,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
    )
    if run.compile:
        module.compile_heads()
    return module


def _make_trainer(
    recipe: Recipe,
    data: ClipDataModule,
    module: ClassificationModule,
    compute: Compute,
    files: CheckpointFiles,
    interruption: Interruption,
    checkpoint: Path | None,
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
    begun = read_ckpt(checkpoint) if checkpoint else {"global_step": 0, "vidtok": {}}
    loggers = make_loggers(
        recipe.logger,
        files.folder,
        step=begun["global_step"],
        owes_validation=begun["vidtok"].get("validation") == "pending",
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
def _worker_deaths() -> Iterator[None]:
    """A loader worker that the system ended is the machine's fault, and one line. Raises EnvironmentFault."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise EnvironmentFault(
            f"{first_line(error)}: most often memory has run out; lower data.workers, and continue with --resume"
        ) from None


def _write_inputs(recipe: Recipe, data: ClipDataModule, compute: Compute, folder: Path) -> None:
    """``config.yaml`` and ``receipt.json``, before the first step."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(dump(recipe), encoding="utf-8")
    val = fingerprint(data.val_manifest) if data.val_manifest else None
    facts = receipt(
        compute=compute, seed=recipe.run.seed, data=data.train_manifest, val=val, decoder=recipe.data.decoder
    )
    (folder / "receipt.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _start_block(
    recipe: Recipe, data: ClipDataModule, module: ClassificationModule, compute: Compute, folder: Path
) -> None:
    """What will run, on stderr: model and cost, data, batch, rate, place."""
    model, train = module.model, recipe.train
    effective = train.effective_batch or train.batch_size * recipe.run.devices * recipe.run.nodes
    val = f", {len(data.val_manifest.items)} val" if data.val_manifest else ", no validation list"
    budgets = ", ".join(map(format_budget, train.budget_set)) or format_budget(model.budget)
    params, gmacs, counts = count_params(model) / 1e6, count_gmacs(model), model.token_counts
    tokens = f"{_tokens(counts[0])} .. {_tokens(counts[-1])}"
    missing = len(data.train_manifest.missing)
    print(
        f"vidtok {__version__}, torch {torch.__version__}, {device_name(compute.device)}, {compute.precision}\n"
        f"model   {recipe.model.backbone.kind} + {recipe.model.compressor.kind}, {params:.2f} M params, "
        f"{gmacs:.2f} GMACs per view, budget {budgets}, tokens per layer {tokens}\n"
        f"data    {len(data.train_manifest.items)} train ({missing} missing){val}, {data.num_classes} classes\n"
        f"steps   {module.total_steps} of {effective} clips, {train.optimizer} at lr {train.lr:g}\n"
        f"run     {folder}",
        file=sys.stderr,
    )
    if data.val_manifest and module.total_steps < train.val_every * module.steps_per_epoch:
        print(
            f"warning: the run ends before its first validation, after {train.val_every} epochs of "
            f"{module.steps_per_epoch} steps; lower train.val_every",
            file=sys.stderr,
        )


def _tokens(count: TokenCount) -> str:
    """``784``; ``128 + 392`` for compressed and lookup tokens."""
    return str(count) if isinstance(count, int) else " + ".join(map(str, count))


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


def find_checkpoint(recipe: Recipe, resume: str) -> Path:
    """The ``last.ckpt`` that ``--resume`` means. Raises WeightsError when there is none."""
    runs = Path(recipe.run.output_dir) / recipe.name
    if resume == "auto":
        found = sorted(runs.glob(f"*/{LAST}"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise WeightsError(f"--resume auto: no {LAST} under {runs}; start without --resume")
        return found[-1]
    path = Path(resume) / LAST if Path(resume).is_dir() else Path(resume)
    if not path.is_file():
        raise WeightsError(f"--resume: '{path}' not found; give a run folder or its {LAST}")
    return path


def _new_folder(recipe: Recipe) -> Path:
    """runs/<recipe>/<time>, with a number behind it when two runs start in the same second.

    Processes that Lightning starts for further devices find the first one's folder in their environment.
    """
    if RUN_FOLDER in os.environ and "LOCAL_RANK" in os.environ:
        return Path(os.environ[RUN_FOLDER])
    base = Path(recipe.run.output_dir) / recipe.name / time.strftime("%Y%m%d-%H%M%S")
    names = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in range(1, 1000))
    folder = next(folder for folder in names if not folder.exists())
    os.environ[RUN_FOLDER] = str(folder)
    return folder
