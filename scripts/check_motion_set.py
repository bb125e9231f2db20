#!/usr/bin/env python3
"""Check that a motion set needs more than a still picture: logistic regressions must do badly on it.

Three of them are trained on the set's train clips, their weight decay is chosen on val and they are scored on
test: on the mean of the frame differences (the last frame minus the first), on the mean of their absolute values
(where something moved) and on the middle frame. The exit code is 7 if one of the first two reaches --max-accuracy.

    python scripts/check_motion_set.py data/motion

Letters: T frames, H = W = side of the frames, F features, K classes, n clips.
"""

import argparse
import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidtok.errors import CheckFailed, DataError, DecodeError, VidtokError

FEATURES = ("mean frame difference", "mean absolute difference", "middle frame")
GATED = FEATURES[:2]
POOLED_SIDE = 16  # pictures are averaged down to this side: fewer weights, less overfitting; 8 and 32 score alike
WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Score:
    """Test accuracy of one logistic regression, as shares in [0, 1]."""

    features: str
    accuracy: float
    standard_error: float
    val_accuracy: float
    weight_decay: float


def read_list(folder: Path, split: str) -> tuple[list[Path], Tensor]:
    """Paths and labels [n] of one split. Raises DataError if the list is absent or empty."""
    path = folder / f"{split}.csv"
    if not path.exists():
        raise DataError(f"{path} does not exist: write a set with `vidtok data synthetic {folder} --clips 4800`")
    rows = [line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    if not rows:
        raise DataError(f"{path} is empty: a motion set has clips in every split")
    return [folder / name for name, _ in rows], torch.tensor([int(label) for _, label in rows])


def clip_features(path: Path) -> np.ndarray:
    """The three pictures of FEATURES, float32 [3, 3, H, W] in units of full brightness. Raises DecodeError."""
    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (av.FFmpegError, OSError) as error:
        raise DecodeError(f"{path}: {error}") from error
    clip = np.stack(frames).astype(np.float32) / 255  # [T, H, W, 3]
    steps = np.diff(clip, axis=0)
    pictures = np.stack([steps.mean(axis=0), np.abs(steps).mean(axis=0), clip[len(clip) // 2]])
    return pictures.transpose(0, 3, 1, 2)


def split_features(paths: list[Path]) -> Tensor:
    """Pooled features of many clips, [3, n, F]."""
    with ThreadPoolExecutor() as pool:
        pictures = torch.from_numpy(
            np.stack(
                list(
                    pool.map(clip_features, paths),
                )
            )
        )  # [n, 3, 3, H, W]
    pooled = F.adaptive_avg_pool2d(pictures.flatten(0, 2)[None], POOLED_SIDE)[0]
    return pooled.reshape(len(paths), len(FEATURES), -1).transpose(0, 1)


def fit(x: Tensor, y: Tensor, num_classes: int, weight_decay: float) -> tuple[Tensor, Tensor]:
    """Weight [K, F] and bias [K] that minimise cross entropy + weight_decay / 2 * |weight|^2 on x [n, F], y [n]."""
    weight = torch.zeros(num_classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, tolerance_grad=1e-4, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y) + weight_decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def score(name: str, x: dict[str, Tensor], y: dict[str, Tensor], num_classes: int) -> Score:
    """Fit on train, choose the weight decay on val (ties: the first), report on test."""
    center, scale = x["train"].mean(dim=0), x["train"].std()
    x = {split: (features - center) / scale for split, features in x.items()}
    fits = {decay: fit(x["train"], y["train"], num_classes, decay) for decay in WEIGHT_DECAYS}

    def accuracy(split: str, decay: float) -> float:
        return (F.linear(x[split], *fits[decay]).argmax(dim=1) == y[split]).float().mean().item()

    best = max(WEIGHT_DECAYS, key=lambda decay: accuracy("val", decay))
    share = accuracy("test", best)
    error = math.sqrt(share * (1 - share) / len(y["test"]))
    return Score(name, share, error, accuracy("val", best), best)


def check(folder: Path) -> tuple[list[Score], dict[str, int], float]:
    """Scores, number of clips per split and chance (share of the commonest test class)."""
    lists = {split: read_list(folder, split) for split in ("train", "val", "test")}
    labels = {split: y for split, (_, y) in lists.items()}
    features = {split: split_features(paths) for split, (paths, _) in lists.items()}
    num_classes = 1 + max(int(y.max()) for y in labels.values())
    scores = [
        score(name, {split: x[i] for split, x in features.items()}, labels, num_classes)
        for i, name in enumerate(FEATURES)
    ]
    chance = labels["test"].bincount().max().item() / len(labels["test"])
    return scores, {split: len(y) for split, y in labels.items()}, chance


def table(scores: list[Score], clips: dict[str, int], chance: float) -> str:
    head = f"{clips['train']} train, {clips['val']} val, {clips['test']} test clips; chance {chance:.1%}"
    rows = [f"{s.features:26} {s.accuracy:6.1%} +- {s.standard_error:.1%}" for s in scores]
    return "\n".join([head, f"{'logistic regression on':26} test top-1", *rows])


def require_hard(scores: list[Score], max_accuracy: float) -> None:
    for s in scores:
        if s.features in GATED and s.accuracy >= max_accuracy:
            raise CheckFailed(
                f"the set is too easy: a logistic regression on the {s.features} has {s.accuracy:.1%} top-1, "
                f"allowed is below {max_accuracy:.0%}; bring light_share nearer to 0.5 or raise num_sprites"
            )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="folder of a motion set")
    parser.add_argument("--max-accuracy", type=float, default=0.4, help="accuracy that fails the check (default 0.4)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args(arguments)
    try:
        scores, clips, chance = check(options.folder)
        document = {"schema": "vidtok.motion_check/1", "folder": str(options.folder), "clips": clips}
        document |= {"chance": chance, "scores": [asdict(s) for s in scores]}
        print(json.dumps(document) if options.json else table(scores, clips, chance))
        require_hard(scores, options.max_accuracy)
    except VidtokError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
