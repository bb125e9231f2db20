"""What a training is about to do, said before its first step."""

import sys
from pathlib import Path

import numpy as np
import torch

from vidtok import __version__
from vidtok.config import Recipe, format_budget
from vidtok.data.datamodule import ClipDataModule
from vidtok.engine.metrics import majority
from vidtok.engine.module import ClassificationModule
from vidtok.engine.predict import Compute
from vidtok.engine.receipt import device_name
from vidtok.engine.runs import effective_batch
from vidtok.models.backbones import TokenCount
from vidtok.models.profile import count_gmacs, count_params
from vidtok.text import counted, printable


def announce(
    recipe: Recipe, data: ClipDataModule, module: ClassificationModule, compute: Compute, folder: Path
) -> None:
    """What will run, on stderr: model and cost, data, batch, rate, place."""
    model, train = module.model, recipe.train
    effective = effective_batch(recipe.model_dump(mode="json"))
    val = f", {len(data.val_manifest.items)} val" if data.val_manifest else ", no validation list"
    budgets = ", ".join(map(format_budget, train.budget_set)) or format_budget(model.budget)
    params, gmacs, counts = count_params(model) / 1e6, count_gmacs(model), model.token_counts
    tokens = f"{_tokens(counts[0])} .. {_tokens(counts[-1])}"
    missing, classes = len(data.train_manifest.missing), counted(data.num_classes, "class")
    print(
        f"vidtok {__version__}, torch {torch.__version__}, {device_name(compute.device)}, {compute.precision}\n"
        f"model   {recipe.model.backbone.kind} + {recipe.model.compressor.kind}, {params:.2f} M params, "
        f"{gmacs:.2f} GMACs per view, budget {budgets}, tokens per layer {tokens}\n"
        f"data    {len(data.train_manifest.items)} train ({missing} missing){val}, {classes}\n"
        f"steps   {module.total_steps} of {counted(effective, 'clip')}, {train.optimizer} at lr {train.lr:g}\n"
        f"run     {folder}",
        file=sys.stderr,
    )
    if data.val_manifest and not recipe.data.multi_label:
        largest = majority(np.array([item.label for item in data.val_manifest.items]))
        if largest is not None and largest[1] > 2 / data.num_classes:
            name = data.class_names[largest[0]] if data.class_names else str(largest[0])
            print(
                f"note: {100 * largest[1]:.1f} % of the validation videos are of class '{printable(name)}': always "
                "answering it has that top-1; see mean_class_top1 beside it",
                file=sys.stderr,
            )
    if data.val_manifest and module.total_steps < train.val_every * module.steps_per_epoch:
        print(
            f"warning: the run ends before its first validation, after {counted(train.val_every, 'epoch')} of "
            f"{counted(module.steps_per_epoch, 'step')}; lower train.val_every",
            file=sys.stderr,
        )


def _tokens(count: TokenCount) -> str:
    """``784``; ``128 + 392`` for compressed and lookup tokens."""
    return str(count) if isinstance(count, int) else " + ".join(map(str, count))
