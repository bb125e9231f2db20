"""What a recipe sees of one video, kept together with where it comes from: for looking at, not for training."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vidtok.config import Recipe
from vidtok.data.augment import Augmentation, augment_clip, draw_repeats
from vidtok.data.dataset import load_views
from vidtok.data.decode import DecodeLimits, VideoInfo, decode_frames
from vidtok.data.sampling import Indices, train_indices
from vidtok.data.seeding import Purpose, keyed_rng
from vidtok.data.segment import Segment, segment_frames
from vidtok.data.transforms import Box, source_boxes


@dataclass(frozen=True, slots=True)
class Look:
    """One temporal clip of a video and what the model gets of it."""

    title: str
    info: VideoInfo
    indices: Indices
    """int64 [T]: frame numbers, in the order in which they were asked for."""
    pictures: Tensor
    """uint8 [T, H, W, 3]: those frames as decoded."""
    boxes: tuple[Box, ...]
    """What is cut out of them, in their pixels."""
    clips: tuple[Tensor, ...]
    """For each box the clip that comes out, uint8 [3, T, S, S]."""


def train_look(path: str, recipe: Recipe, *, epoch: int, index: int, segment: Segment | None = None) -> Look:
    """The training clips that :class:`vidtok.data.dataset.TrainDataset` gives for a video in one epoch.

    Mixing of clips happens later, on batches. Flips are shown as drawn, also where the recipe keeps the clips of
    some classes from being flipped: the class is not known here.

    Args:
        path: the video.
        recipe: its clip, augment, data and run sections are used.
        epoch: another epoch is another draw.
        index: place of the video in the training list, counted from 0; the draw depends on it.
        segment: the part of the video that is meant; None: all of it.

    Raises:
        DecodeError: the video cannot be read.
    """
    rng = keyed_rng(Purpose.SAMPLE, recipe.run.seed, epoch, index)

    def choose(info: VideoInfo) -> Indices:
        window = segment_frames(segment, info)
        indices = train_indices(info.num_frames, recipe.clip, rng, window=window, pts_seconds=info.pts_seconds)
        return rng.permutation(indices) if recipe.augment.shuffle else indices

    decoded = decode_frames(
        path,
        choose,
        decoder=recipe.data.decoder,
        short_side=recipe.data.decode_short_side,
        limits=DecodeLimits.of(recipe.data),
    )
    pictures = torch.from_numpy(decoded.frames)
    height, width = pictures.shape[1:3]
    choices = draw_repeats(
        recipe.augment, recipe.clip, height=height, width=width, repeats=recipe.train.repeated_aug, rng=rng
    )
    return Look(
        f"epoch {epoch}: " + "; ".join(map(changes_text, choices)),
        decoded.info,
        decoded.indices,
        pictures,
        tuple(choice.box for choice in choices),
        tuple(augment_clip(pictures, choice, size=recipe.clip.size) for choice in choices),
    )


def changes_text(choice: Augmentation) -> str:
    """The changes of one draw besides the crop, in words."""
    names = [name for name in ("hflip", "vflip", "reverse") if getattr(choice, name)]
    names += [f"{op.name} {op.amount:.2g}" for op in choice.ops]
    if choice.color is not None:
        values = ((field.name, getattr(choice.color, field.name)) for field in fields(choice.color))
        names += [f"{name} {value:.2g}" for name, value in values]
    if choice.erasure is not None:
        top, left, height, width = choice.erasure.box
        names.append(f"{width}x{height} erased at ({left}, {top})")
    return ", ".join(names) or "crop only"


def view_looks(path: str, recipe: Recipe, *, segment: Segment | None = None) -> list[Look]:
    """All test views of a video, as evaluation sees them: one look per temporal clip, one box per crop.

    Args:
        path: the video.
        segment: the part of it that is meant; None: all of it.
        recipe: its clip, eval and data sections are used; frames are shown in order even if augment.shuffle is set.

    Raises:
        DecodeError: the video cannot be read.
    """
    clip, crops, decoder, limits = recipe.clip, recipe.eval.crops, recipe.data.decoder, DecodeLimits.of(recipe.data)
    views_of = {"num_clips": recipe.eval.clips, "num_crops": crops, "decoder": decoder, "limits": limits}
    video = load_views(path, clip, segment=segment, **views_of)
    frames = decode_frames(
        path, lambda info: video.indices, decoder=decoder, short_side=clip.test_short_side, verify=True, limits=limits
    )
    pictures = torch.from_numpy(frames.frames).unflatten(0, video.indices.shape)  # [clips, T, H, W, 3]
    boxes = tuple(source_boxes(*pictures.shape[2:4], short_side=clip.test_short_side, size=clip.size, num_crops=crops))
    views = video.views.unflatten(0, (-1, crops))  # [clips, crops, 3, T, S, S]
    return [
        Look(f"clip {number} of {len(views)}", video.info, indices, shown, boxes, tuple(cut))
        for number, (indices, shown, cut) in enumerate(zip(video.indices, pictures, views, strict=True), 1)
    ]
