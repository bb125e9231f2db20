"""Where the time of one training sample goes, and what more test views cost."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import default_collate

from vidtok.config import AugmentConfig, ClipConfig
from vidtok.data.augment import augment_clip, draw_augmentation
from vidtok.data.bench.readers import AUTO, Sample, decode_only
from vidtok.data.bench.timing import Timing, time_in_turn
from vidtok.data.dataset import load_views
from vidtok.data.decode import decode_frames, open_video
from vidtok.data.decode.convert import Converter
from vidtok.data.decode.info import Orientation

_BATCH = 8
_SEED = 0

STAGES = ("open", "seek+decode", "convert", "resize", "augment", "collate")

ONE_CLIP, ONE_CROP, ALL_VIEWS, UNION = "1x1", "4x1", "4x3", "decode of the frames of 4x3"


def time_stages(samples: Sequence[Sample], *, clip: ClipConfig, read: Timing, rounds: int) -> dict[str, float]:
    """Milliseconds per clip by stage.

    What a read does beside opening and converting is seeking and decoding; it is what those leave of it.

    Args:
        samples: what was read.
        clip: what the model sees.
        read: time of the whole read of a sample, by the default engine.
        rounds: timed rounds; the medians are taken.
    """
    pictures = [decode_only(sample) for sample in samples]
    frames = [torch.from_numpy(_decoded(sample)) for sample in samples]
    clips = [_augmented(each, clip, np.random.default_rng(_SEED)) for each in frames]
    rng = np.random.default_rng(_SEED)
    tasks: dict[str, Callable[[], object]] = {
        "open": lambda: [open_video(sample.path).close() for sample in samples],
        "convert": lambda: [_convert(each, None) for each in pictures],
        "scaled": lambda: [_convert(each, sample.size) for each, sample in zip(pictures, samples, strict=True)],
        "augment": lambda: [_augmented(each, clip, rng) for each in frames],
        "collate": lambda: [default_collate(clips[:1] * _BATCH) for _ in samples],
    }
    timings = time_in_turn(tasks, rounds=rounds)
    per_clip = {name: 1000 * timing.median / len(samples) for name, timing in timings.items()}
    scaled = per_clip.pop("scaled")
    per_clip["collate"] /= _BATCH
    per_clip["resize"] = max(scaled - per_clip["convert"], 0.0)
    per_clip["convert"] = min(scaled, per_clip["convert"])
    per_clip["seek+decode"] = max(1000 * read.median - per_clip["open"] - scaled, 0.0)
    return {name: per_clip[name] for name in STAGES}


def time_views(path: str, *, clip: ClipConfig, rounds: int) -> dict[str, Timing]:
    """Time of test views of one video, and of decoding once the frames that all of them need."""
    indices = np.unique(load_views(path, clip, num_clips=4, num_crops=3).indices)
    tasks: dict[str, Callable[[], object]] = {
        ONE_CLIP: lambda: load_views(path, clip, num_clips=1, num_crops=1),
        ONE_CROP: lambda: load_views(path, clip, num_clips=4, num_crops=1),
        ALL_VIEWS: lambda: load_views(path, clip, num_clips=4, num_crops=3),
        UNION: lambda: decode_frames(path, lambda info: indices, short_side=clip.test_short_side, verify=True),
    }
    return time_in_turn(tasks, rounds=rounds)


def _decoded(sample: Sample) -> np.ndarray:
    return decode_frames(sample.path, lambda info: sample.indices, decoder=AUTO, short_side=sample.short_side).frames


def _augmented(frames: torch.Tensor, clip: ClipConfig, rng: np.random.Generator) -> torch.Tensor:
    height, width = frames.shape[1:3]
    choice = draw_augmentation(AugmentConfig(hflip=0.5), clip, height=height, width=width, rng=rng)
    return augment_clip(frames, choice, size=clip.size)


def _convert(pictures: Sequence, size: tuple[int, int] | None) -> None:
    converter = Converter(Orientation())
    for picture in pictures:
        width, height = size or (picture.width, picture.height)
        converter.store(picture, np.empty((height, width, 3), np.uint8), "rgb")
    converter.flush()
