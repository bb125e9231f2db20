"""Videos as training clips and as test views. A video that cannot be read is marked, never replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vidtok.config import AugmentConfig, ClipConfig
from vidtok.data.augment import Augmentation, augment_clip, augment_planes, draw_repeats
from vidtok.data.cache import FrameCache
from vidtok.data.decode import DEFAULT_LIMITS, DecodeLimits, PacketStore, PixelFormat, VideoInfo, decode_frames
from vidtok.data.decode.info import DEADLINE_SECONDS, Deadline
from vidtok.data.manifest import Item
from vidtok.data.sampling import Indices, frames_in_seconds, train_indices, view_indices
from vidtok.data.seeding import Purpose, keyed_rng
from vidtok.data.segment import Segment, segment_frames, segment_seconds
from vidtok.data.swaps import LabelSwaps
from vidtok.data.transforms import make_views
from vidtok.data.yuv import rgb_matrix
from vidtok.errors import DataError, DecodeError

UNKNOWN_LABEL = -1
"""Stands in tensors where a video has no label."""


class TrainDataset(Dataset[dict[str, Any]]):
    """Training clips by (epoch, index).

    All randomness of a sample comes from (seed, epoch, index): neither workers nor ranks nor other samples
    change it. Without a cache every access decodes the frames that it needs.

    Args:
        items: videos with labels.
        clip: what the model sees of a video.
        augment: changes of single clips; mixing happens later, on the batch.
        swaps: labels after flips and reversal.
        seed: of the run.
        decoder: engine.
        short_side: shorter side of decoded frames [pixels], None as stored.
        cache: all frames of ``items``, in their order; of parts of videos those of the part.
        repeats: samples of one decoded video in a batch: the same frames, augmented differently.
        multi_hot: number of classes, where clips have any number of labels; None: each has one.
        packets: what ``vidtok data index`` found out about the videos, which makes opening them faster.
        pixel_format: ``yuv420`` gives stored planes, to be turned into RGB on the device; geometric changes only.
        limits: what a video may cost.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        clip: ClipConfig,
        augment: AugmentConfig,
        swaps: LabelSwaps,
        seed: int,
        decoder: str = "auto",
        short_side: int | None = None,
        cache: FrameCache | None = None,
        repeats: int = 1,
        multi_hot: int | None = None,
        packets: PacketStore | None = None,
        pixel_format: PixelFormat = "rgb",
        limits: DecodeLimits = DEFAULT_LIMITS,
    ) -> None:
        self.items = items
        self.cache = cache
        self._pixel_format: PixelFormat = pixel_format
        self._limits = limits
        self._repeats = repeats
        self._multi_hot = multi_hot
        self._packets = packets
        self._clip = clip
        self._augment = augment
        self._swaps = swaps
        self._seed = seed
        self._decoder = decoder
        self._short_side = short_side

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The first sample of :meth:`samples`."""
        return self.samples(key)[0]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """All samples of a batch, for torch's loader: the repeats of a video follow each other."""
        return [sample for key in keys for sample in self.samples(key)]

    def samples(self, key: tuple[int, int]) -> list[dict[str, Any]]:
        """The samples of one (epoch, index), as many as ``repeats``.

        Each holds:
            clip: uint8 [3, T, S, S], or [T, S * 3 / 2, S] as YUV; zeros when the video cannot be read.
            matrix: as YUV only, float32 [3, 4]: the map to RGB, see :func:`rgb_matrix`.
            label: class index after augmentation, -1 when unknown; float [C] of 0 and 1 with ``multi_hot``.
            valid: False when the video cannot be read.
            index, path: the video; the path is the item's name, which tells two parts of one video apart.
            error: why it cannot be read, one line; else empty.
        """
        epoch, index = key
        item = self.items[index]
        facts = {"valid": True, "index": index, "path": item.name, "error": ""}
        rng = keyed_rng(Purpose.SAMPLE, self._seed, epoch, index)
        try:
            frames, matrix = self._frames(index, rng)
        except DecodeError as failure:
            facts |= {"valid": False, "error": str(failure)} | self._blank()
            return [{"label": _target(item.label, self._multi_hot)} | facts] * self._repeats
        if matrix is not None:
            facts["matrix"] = matrix
        return [self._augmented(frames, item, choice) | facts for choice in self._choices(frames, rng)]

    def _choices(self, frames: Tensor, rng: np.random.Generator) -> list[Augmentation]:
        """The changes of each repeat of the frames [T, H, W, 3], or planes [T, H * 3 / 2, W]."""
        height = frames.shape[1] if self._pixel_format == "rgb" else frames.shape[1] * 2 // 3
        return draw_repeats(
            self._augment, self._clip, height=height, width=frames.shape[2], repeats=self._repeats, rng=rng
        )

    def _blank(self) -> dict[str, Tensor]:
        """What stands for an unreadable video."""
        frames, size = self._clip.frames, self._clip.size
        if self._pixel_format == "rgb":
            return {"clip": torch.zeros(3, frames, size, size, dtype=torch.uint8)}
        return {"clip": torch.zeros(frames, size * 3 // 2, size, dtype=torch.uint8), "matrix": torch.zeros(3, 4)}

    def _augmented(self, frames: Tensor, item: Item, choice: Augmentation) -> dict[str, Any]:
        """One draw applied to the frames [T, H, W, 3], or planes [T, H * 3 / 2, W], and the label."""
        choice = self._swaps.allowed(item.label, choice)
        apply = augment_clip if self._pixel_format == "rgb" else augment_planes
        clip = apply(frames, choice, size=self._clip.size)
        return {"clip": clip, "label": _target(self._swaps.label_after(item.label, choice), self._multi_hot)}

    def _frames(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """The drawn frames, uint8 [T, H, W, 3], or their planes and the map to RGB. Raises DecodeError."""
        if self.cache is not None:
            frames = self.cache[index]
            whole = (0, len(frames))
            return frames[torch.from_numpy(self._choose(whole, self.cache.pts_seconds(index), rng))], None
        item = self.items[index]
        decoded = decode_frames(
            item.path,
            lambda info: self._choose(segment_frames(item.segment, info), info.pts_seconds, rng),
            decoder=self._decoder,
            short_side=self._short_side,
            limits=self._limits,
            packets=self._packets,
            pixel_format=self._pixel_format,
        )
        matrix = None if self._pixel_format == "rgb" else rgb_matrix(decoded.info)
        return torch.from_numpy(decoded.frames), matrix

    def _choose(self, window: tuple[int, int], pts_seconds: np.ndarray | None, rng: np.random.Generator) -> Indices:
        indices = train_indices(window[1], self._clip, rng, window=window, pts_seconds=pts_seconds)
        return rng.permutation(indices) if self._augment.shuffle else indices


@dataclass(frozen=True, slots=True)
class VideoViews:
    """All test views of one video."""

    views: Tensor
    """uint8 [clips * crops, 3, T, S, S], the crops of the first clip first."""
    indices: Indices
    """int64 [clips, T]: frames of each temporal clip, in the order in which the model sees them."""
    info: VideoInfo
    decoder: str
    """Engine that read the frames."""
    fallback: str | None
    """Why another engine than the wanted one read them; None when it did not."""
    span: tuple[float, float]
    """Start and end of the part of the video that was looked at [seconds]."""


def load_views(
    path: str,
    clip: ClipConfig,
    *,
    num_clips: int,
    num_crops: int,
    decoder: str = "auto",
    segment: Segment | None = None,
    window_seconds: tuple[float, float] | None = None,
    shuffle_rng: np.random.Generator | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> VideoViews:
    """Decode a video once and cut its test views; evaluation, inference and the Python API all call this.

    Args:
        path: the video.
        clip: what the model sees of a video.
        num_clips: temporal clips.
        num_crops: crops per clip, 1 or 3.
        decoder: engine.
        segment: the part of the video that is meant; None: all of it.
        window_seconds: instead, look only at [start, end) of the video.
        shuffle_rng: shuffle the frames of every clip: the control for frame order.
        limits: what the video may cost.

    Raises:
        DecodeError: the video cannot be read, or does not hold the segment.
        DataError: the window starts after the video's end.
    """
    indices = np.empty((0, 0), dtype=np.int64)

    def choose(info: VideoInfo) -> Indices:
        nonlocal indices  # the decoder asks again when a damaged file turns out to have fewer frames
        window = segment_frames(segment, info) if window_seconds is None else _window(info, *window_seconds)
        indices = view_indices(info.num_frames, clip, num_clips, window=window, pts_seconds=info.pts_seconds)
        return np.unique(indices)

    decoded = decode_frames(path, choose, decoder=decoder, short_side=clip.test_short_side, verify=True, limits=limits)
    if shuffle_rng is not None:
        indices = shuffle_rng.permuted(indices, axis=1)
    views = make_views(
        torch.from_numpy(decoded.frames),
        torch.from_numpy(np.searchsorted(decoded.indices, indices)),
        short_side=clip.test_short_side,
        size=clip.size,
        num_crops=num_crops,
        check=Deadline(path, DEADLINE_SECONDS).check,
    )
    span = window_seconds or segment_seconds(segment, decoded.info)
    return VideoViews(views, indices, decoded.info, decoded.decoder, decoded.fallback, span)


def _window(info: VideoInfo, start_seconds: float, end_seconds: float) -> tuple[int, int]:
    if start_seconds >= info.duration_seconds:
        raise DataError(
            f"{info.path}: the window starts at {start_seconds:g} s, but the video ends at {info.duration_seconds:g} s"
        )
    return frames_in_seconds(info.pts_seconds, start_seconds=start_seconds, end_seconds=end_seconds)


class ViewDataset(Dataset[dict[str, Any]]):
    """Test views by index, for validation and evaluation.

    Args:
        items: videos, with labels where known.
        clip: what the model sees of a video.
        num_clips: temporal clips per video.
        num_crops: crops per clip, 1 or 3.
        decoder: engine.
        shuffle_seed: shuffle the frames of every clip, differently per video; None keeps their order.
        multi_hot: number of classes, where videos have any number of labels; None: each has one.
        limits: what a video may cost.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        clip: ClipConfig,
        num_clips: int,
        num_crops: int,
        decoder: str = "auto",
        shuffle_seed: int | None = None,
        multi_hot: int | None = None,
        limits: DecodeLimits = DEFAULT_LIMITS,
    ) -> None:
        self.items = items
        self._limits = limits
        self._clip = clip
        self._num_clips = num_clips
        self._num_crops = num_crops
        self._decoder = decoder
        self._shuffle_seed = shuffle_seed
        self._multi_hot = multi_hot

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """All views of one video.

        Returns:
            views: uint8 [V, 3, T, S, S]; zeros when the video cannot be read.
            label: class index, -1 when unknown; float [C] of 0 and 1, or of -1, with ``multi_hot``.
            valid: False when the video cannot be read.
            index, path: the video; the path is the item's name, which tells two parts of one video apart.
            error: why it cannot be read, one line; else empty.
            span: float64 [2]: start and end of the part that was looked at [seconds]; NaN when it cannot be read.
            frames: int64 [clips, T] frame numbers.
            num_frames, fps, decoder, fallback: facts of the file; 0 or empty where there are none.
        """
        item = self.items[index]
        seed = self._shuffle_seed
        sample = {"label": _target(item.label, self._multi_hot), "index": index, "path": item.name}
        try:
            loaded = load_views(
                item.path,
                self._clip,
                num_clips=self._num_clips,
                num_crops=self._num_crops,
                decoder=self._decoder,
                segment=item.segment,
                shuffle_rng=None if seed is None else keyed_rng(Purpose.VIEW_SHUFFLE, seed, index),
                limits=self._limits,
            )
        except DecodeError as failure:
            return sample | self._unreadable(str(failure))
        return sample | {
            "views": loaded.views,
            "valid": True,
            "error": "",
            "span": torch.tensor(loaded.span, dtype=torch.float64),
            "frames": torch.from_numpy(loaded.indices),
            "num_frames": loaded.info.num_frames,
            "fps": loaded.info.fps,
            "decoder": loaded.decoder,
            "fallback": loaded.fallback or "",
        }

    def _unreadable(self, error: str) -> dict[str, Any]:
        frames, size = self._clip.frames, self._clip.size
        num_views = self._num_clips * self._num_crops
        return {
            "views": torch.zeros(num_views, 3, frames, size, size, dtype=torch.uint8),
            "valid": False,
            "error": error,
            "span": torch.full((2,), torch.nan, dtype=torch.float64),
            "frames": torch.zeros(self._num_clips, frames, dtype=torch.int64),
            "num_frames": 0,
            "fps": 0.0,
            "decoder": "",
            "fallback": "",
        }


def _target(label: int | tuple[int, ...] | None, multi_hot: int | None) -> int | Tensor:
    """A label as the model's loss wants it."""
    if multi_hot is None:
        assert not isinstance(label, tuple)
        return UNKNOWN_LABEL if label is None else label
    if label is None:
        return torch.full((multi_hot,), float(UNKNOWN_LABEL))
    target = torch.zeros(multi_hot)
    target[list(label if isinstance(label, tuple) else (label,))] = 1
    return target
