"""Label videos: files, folders, patterns and windows of long videos, one result at a time."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vidtok.config import Budget, parse_budget
from vidtok.data.addresses import check_file_name
from vidtok.data.dataset import VideoViews, load_views
from vidtok.data.inputs import expand_inputs
from vidtok.data.manifest import Item
from vidtok.engine.predict import (
    NOT_FINITE,
    Compute,
    at_budget,
    choose_compute,
    class_labels,
    parse_views,
    predict_views,
    top_classes,
)
from vidtok.engine.windows import Span, Window, window_views
from vidtok.errors import DataError
from vidtok.models.backbones import VideoModel
from vidtok.models.checkpoint import load

SCHEMA = "vidtok.infer/1"
DEFAULT_CHECKPOINT = "hf://google/vivit-b-16x2-kinetics400"

Result = dict[str, Any]
"""path, start_s, end_s [seconds], top [{label, score}], frames (per clip the frame numbers that were looked
at), decoder, num_frames (counted, not the container's word), fps, error (None, or why there is no answer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    clips: int = 4
    crops: int = 1
    topk: int = 5
    decoder: str = "auto"
    window: Window | None = None

    @classmethod
    def for_model(cls, model: VideoModel, *, views: str | None = None, **options: Any) -> "InferOptions":
        """Views as asked, else the checkpoint's test protocol but at most 4x1. Raises ConfigError."""
        clips, crops = parse_views(views) if views else (min(model.eval_protocol.clips, 4), 1)
        return cls(clips=clips, crops=crops, **options)


def default_checkpoint() -> str:
    """``$VIDTOK_CHECKPOINT``, else a public Kinetics-400 model."""
    return os.environ.get("VIDTOK_CHECKPOINT") or DEFAULT_CHECKPOINT


def infer_videos(
    model: VideoModel, videos: Iterable[Item | str], options: InferOptions, *, compute: Compute
) -> Iterator[Result]:
    """One result per video, or per window of it, as soon as it is known. A failure is a result with ``error``.

    Scores that are not finite are a failure too, of their window alone.
    """
    for video in videos:
        item = Item(video, None) if isinstance(video, str) else video
        try:
            yield from _infer_video(model, item, options, compute)
        except DataError as error:
            yield _failure(item, str(error))


def _infer_video(model: VideoModel, item: Item, options: InferOptions, compute: Compute) -> Iterator[Result]:
    """Label a video, or the part of it that is meant, whole or window by window. Raises DataError."""
    check_file_name(item.path)
    views_of = {"num_clips": options.clips, "num_crops": options.crops, "decoder": options.decoder}
    views_of["segment"] = item.segment
    if options.window is None:
        views = load_views(item.path, model.preprocessing, **views_of)
        yield _label(model, item.path, views, views.span, options, compute)
        return
    for span, views in window_views(item.path, model.preprocessing, options.window, **views_of):
        yield _label(model, item.path, views, span, options, compute)


def _label(
    model: VideoModel,
    path: str,
    views: VideoViews,
    span: Span,
    options: InferOptions,
    compute: Compute,
) -> Result:
    protocol = model.eval_protocol
    probs = predict_views(model, views.views, compute=compute, average=protocol.average, batch_size=protocol.batch_size)
    info, is_finite = views.info, bool(probs.isfinite().all())
    return {
        "path": path,
        "start_s": round(span[0], 3),
        "end_s": round(span[1], 3),
        "top": top_classes(probs, class_labels(model), topk=options.topk) if is_finite else [],
        "frames": views.indices.tolist(),
        "decoder": views.decoder,
        "num_frames": info.num_frames,
        "fps": round(info.fps, 3),
        "error": None if is_finite else f"{path}: {NOT_FINITE}",
    }


def _failure(item: Item, error: str) -> Result:
    segment = item.segment if item.segment is not None and item.segment.unit == "s" else None
    start, end = (None, None) if segment is None else (segment.start, segment.end)
    absent = dict.fromkeys(("decoder", "num_frames", "fps"))
    return {"path": item.path, "start_s": start, "end_s": end, **absent, "top": [], "frames": [], "error": error}


def predict(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    model: VideoModel | str | None = None,
    topk: int = 5,
    views: str | tuple[int, int] | None = None,
    budget: Budget | str | None = None,
) -> list[Result]:
    """Label videos, as ``vidtok infer`` does.

    Args:
        paths: one or more files, folders, lists or shell patterns.
        model: a loaded model, which runs where it is; or a checkpoint; or None for the default checkpoint.
        topk: number of classes to list, clipped to what the model has.
        views: ``"4x3"`` or (4, 3), clips x crops; None: the checkpoint's, at most 4x1.
        budget: token budget; None: the model's own.

    Returns:
        One dict per video, or part of one that a list means, as in infer's JSON: path, start_s, end_s,
        top [{label, score}], frames, decoder, num_frames, fps, error. An unreadable video has a text in ``error`` and
        an empty ``top``.

    Raises:
        ConfigError: views or budget that cannot be.
        DataError: a folder without videos, a pattern without matches.
        WeightsError: the checkpoint cannot be used.
    """
    if not isinstance(model, VideoModel):
        model = load(model or default_checkpoint()).to(choose_compute().device)
    inputs = [paths] if isinstance(paths, str | os.PathLike) else paths
    views_text = "x".join(map(str, views)) if isinstance(views, tuple) else views
    options = InferOptions.for_model(model, views=views_text, topk=topk)
    device: torch.device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with at_budget(model, parse_budget(budget)):
            compute = choose_compute(str(device))
            return list(infer_videos(model, expand_inputs(map(os.fspath, inputs), ()), options, compute=compute))
    finally:
        model.train(was_training)
