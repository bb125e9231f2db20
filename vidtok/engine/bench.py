"""What a compressor costs and saves by the clock: models timed in turn against the dense one of the same run.

A ratio of two times of one round cancels what the machine does beside; medians of rounds cancel the rest.
"""

import gc
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vidtok.config import (
    ClipConfig,
    CompressorUnion,
    ModelConfig,
    NoneConfig,
    format_budget,
    from_tree,
    parse_budget,
)
from vidtok.configio import parse_yaml
from vidtok.data.bench.timing import SHORTEST, spread
from vidtok.engine.predict import Compute
from vidtok.engine.receipt import device_name
from vidtok.errors import ConfigError
from vidtok.models.backbones import TokenCount, VideoModel
from vidtok.models.build import build_model
from vidtok.models.checkpoint import load
from vidtok.models.profile import count_gmacs, count_params
from vidtok.models.warmstart import compress_model

SCHEMA = "vidtok.bench.model/1"


@dataclass(frozen=True, slots=True)
class Case:
    """A compressor at one budget; ``text`` is how the user wrote it."""

    text: str
    compressor: CompressorUnion


@dataclass(frozen=True, slots=True)
class Row:
    model: str
    compressor: str
    """As the case was written, such as ``lookup:5x5,reuse=pre``."""
    budget: str
    gmacs_per_view: float
    params_m: float
    tokens_per_layer: list[TokenCount]
    device: str
    dtype: str
    batch: int
    threads: int | None
    """Of the CPU; None on a GPU."""
    clock: str
    """``cpu``: processor time of one thread; ``wall``: time that passed."""
    clips_per_s: float
    """Median over the rounds."""
    spread: float
    """Half the distance of the quartiles of the time, over its median."""
    peak_mem_mb: float | None
    """Largest memory of the GPU in one forward pass; None on the CPU."""
    speedup_vs_dense: float
    """Median over the rounds of the dense model's time over this one's."""
    flops_ratio: float
    """The dense model's multiply-adds over this one's."""

    @property
    def efficiency(self) -> float:
        """Speed-up over ratio of multiply-adds: 1 when the clock confirms the count."""
        return self.speedup_vs_dense / self.flops_ratio


def parse_case(text: str) -> Case:
    """``evit``, ``evit:0.7`` or ``lookup:8x5x5,reuse=pre`` -> a compressor. Raises ConfigError."""
    match = re.fullmatch(r"([a-z]+)(?::([^,=]+))?((?:,[a-z_0-9]+=[^,]+)*)", text.strip())
    if match is None:
        raise ConfigError(f"case '{text}' is not of the form compressor:budget,key=value, such as lookup:5x5,reuse=pre")
    kind, budget, options = match.groups()
    tree: dict[str, Any] = {"kind": kind} | ({"budget": parse_budget(budget)} if budget else {})
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        tree[key] = parse_yaml(value, f"case {text}")
    return Case(text.strip(), from_tree(ModelConfig, {"compressor": tree}).compressor)


def bench_models(
    source: str | Path,
    cases: Sequence[Case],
    *,
    clip: ClipConfig | None,
    compute: Compute,
    batch: int = 1,
    rounds: int = 5,
    threads: int | None = None,
    on_round: Callable[[int], None] | None = None,
) -> list[Row]:
    """Time a dense model and the same model with each compressor, in turn, in eval mode.

    Args:
        source: name of a model, random weights, or a checkpoint of a dense one.
        cases: what to compare with the dense model.
        clip: frames and size for a model by name; None: what its family uses.
        compute: device and arithmetic.
        batch: clips per forward pass.
        rounds: forward passes of each model, after one that is not counted.
        threads: of the CPU; None: torch's own number. With 1, processor time is measured.
        on_round: called with the number of finished rounds.

    Returns:
        The dense model's row, then one per case.

    Raises:
        ConfigError: an unknown model, a refused pair, a budget that does not fit. WeightsError: the checkpoint.
    """
    dense = _dense_model(source, clip)
    models = [dense, *(compress_model(dense, case.compressor).model for case in cases)]
    costs = [count_gmacs(model) for model in models]
    on_cpu = compute.device.type == "cpu"
    with _threads(threads if on_cpu else None):
        used = torch.get_num_threads() if on_cpu else None
        clock = "cpu" if used == 1 else "wall"
        times, peaks = _time(models, compute, batch=batch, rounds=rounds, clock=clock, on_round=on_round)
    return [
        Row(
            model=dense.config.backbone.kind if Path(str(source)).exists() else str(source),
            compressor=text,
            budget=format_budget(model.budget),
            gmacs_per_view=round(cost, 4),
            params_m=round(count_params(model) / 1e6, 3),
            tokens_per_layer=model.token_counts,
            device=device_name(compute.device),
            dtype=compute.precision,
            batch=batch,
            threads=used,
            clock=clock,
            clips_per_s=round(batch / statistics.median(seconds), 4),
            spread=round(spread(seconds), 4),
            peak_mem_mb=peak,
            speedup_vs_dense=round(statistics.median(map(float.__truediv__, times[0], seconds)), 4),
            flops_ratio=round(costs[0] / cost, 4),
        )
        for text, model, cost, seconds, peak in zip(
            ["none", *(case.text for case in cases)], models, costs, times, peaks, strict=True
        )
    ]


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON document of ``vidtok bench model``."""
    return {"schema": SCHEMA, "torch": torch.__version__, "rows": [asdict(row) for row in rows]}


def _dense_model(source: str | Path, clip: ClipConfig | None) -> VideoModel:
    """Raises ConfigError for a checkpoint that is compressed already, or an unknown name."""
    if Path(str(source)).exists() or str(source).startswith("hf://"):
        model = load(source)
        if not isinstance(model.config.compressor, NoneConfig):
            raise ConfigError(f"'{source}' has compressor '{model.config.compressor.kind}'; give a dense checkpoint")
        return model
    config = from_tree(ModelConfig, {"backbone": str(source)})
    clip = clip or ClipConfig(frames=config.backbone.default_frames)
    return build_model(config, clip, num_classes=400).eval()


def _time(
    models: Sequence[VideoModel],
    compute: Compute,
    *,
    batch: int,
    rounds: int,
    clock: str,
    on_round: Callable[[int], None] | None,
) -> tuple[list[list[float]], list[float | None]]:
    """(seconds of every round, peak memory [MB]) of each model; all of them stay on the device."""
    clip = models[0].preprocessing
    views = torch.randn(batch, 3, clip.frames, clip.size, clip.size, device=compute.device)
    times: list[list[float]] = [[] for _ in models]
    peaks: list[float | None] = [None] * len(models)
    for model in models:
        model.to(compute.device)
    gc.collect()
    for number in range(rounds + 1):
        for place, model in enumerate(models):
            seconds, peak = _once(model, views, compute, clock)
            if number:  # the first one warms up
                times[place].append(seconds)
                peaks[place] = peak
        if on_round is not None and number:
            on_round(number)
    return times, peaks


@torch.inference_mode()
def _once(model: VideoModel, views: torch.Tensor, compute: Compute, clock: str) -> tuple[float, float | None]:
    """(seconds, peak memory [MB] above what was there) of one forward pass."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    on_gpu = compute.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    start = now()
    with compute.autocast():
        model(views)
    if on_gpu:
        torch.cuda.synchronize()
    seconds = max(now() - start, SHORTEST)
    return seconds, (torch.cuda.max_memory_allocated() - before) / 2**20 if on_gpu else None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use this many CPU threads for a while; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
