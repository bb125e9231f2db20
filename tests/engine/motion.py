"""A tiny motion set and a recipe that trains on it in seconds."""

from pathlib import Path

from vidtok.config import Recipe
from vidtok.configio import merge as merge_trees
from vidtok.configio import parse_override, read_tree, validate

TINY = """
name: tiny
model:
  backbone: {kind: vivit_fe, dim: 16, depth: 2, num_heads: 2, patch: 8, tubelet: 4, temporal_depth: 1, drop_path: 0.2}
  compressor: {kind: lookup, budget: 2x2}
data: {train: SET/train.csv, val: SET/val.csv, decode_short_side: 32, workers: 0}
clip: {frames: 8, sampling: uniform, size: 32}
augment: {crop_scale: [0.7, 1.0], hflip: 0.5, hflip_swaps: [[move_left, move_right]], mixup: 0.2, cutmix: 1.0}
train:
  {epochs: 2, batch_size: 8, lr: 1e-3, warmup_epochs: 0, budget_set: [2x2, 3x3, 4x4], checkpoint_every: 2, log_every: 1}
eval: {clips: 1, crops: 1}
run: {output_dir: OUT, device: cpu}
"""


def write_recipe(folder: Path, motion_set: Path) -> Path:
    """``folder/tiny.yaml``, which reads ``motion_set`` and writes runs to ``folder/runs``."""
    path = folder / "tiny.yaml"
    path.write_text(TINY.replace("SET", str(motion_set)).replace("OUT", str(folder / "runs")))
    return path


def make_recipe(folder: Path, motion_set: Path, *overrides: str) -> Recipe:
    tree = read_tree(write_recipe(folder, motion_set))
    for override in overrides:
        tree = merge_trees(tree, parse_override(override))
    return validate(tree)
