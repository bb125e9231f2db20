"""Public checkpoints of other projects, read safely and turned into our models.

One small file reads each family of sources; ``adapt`` fits what was read to the model that is wanted, and
``ConversionReport`` tells what became of every tensor. Nothing that a file asks to run is run, and no tensor is
skipped without a reason.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError

from vidtok.config import ModelConfig, explain, from_tree
from vidtok.errors import ConfigError, WeightsError
from vidtok.models.archive import first_line
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model
from vidtok.models.checkpoint import fetch, load_weights, save_pretrained
from vidtok.models.pretrained import flax, hf, timesformer, timm, videomae
from vidtok.models.pretrained.adapt import Adapted, Inflation, Wish, adapt, wished_backbone, wished_clip
from vidtok.models.pretrained.names import peeled, without_wrappers
from vidtok.models.pretrained.reading import read_files, told_left_out
from vidtok.models.pretrained.report import ConversionReport
from vidtok.models.pretrained.settings import check_settings
from vidtok.models.pretrained.source import Files, Foreign, Hints
from vidtok.models.tensors import cast_note

__all__ = ["FORMATS", "ConversionReport", "Hints", "convert", "load_foreign"]


MISFITS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading tensors of unexpected shapes may raise."""


class Format(NamedTuple):
    """One kind of source: does a file look like it, and what does it hold."""

    matches: Callable[[Files], bool]
    read: Callable[[Files, Hints], Foreign]


FORMATS: dict[str, Format] = {
    "hf": Format(hf.matches, hf.read),
    "mmaction2-timesformer": Format(timesformer.matches_mmaction, timesformer.read_mmaction),
    "timesformer": Format(timesformer.matches, timesformer.read),
    "videomae": Format(videomae.matches, videomae.read),
    "timm": Format(timm.matches, timm.read),
    "scenic": Format(flax.matches, flax.read),
    "google-npz": Format(flax.matches_image, flax.read_image),
}
"""All sources, in the order in which they are tried; the first that matches reads."""


def load_foreign(
    source: str | Path,
    *,
    backbone: str | dict[str, Any] | None = None,
    num_frames: int | None = None,
    image_size: int | None = None,
    tubelet: int | None = None,
    inflate: Inflation = "central",
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    source_format: str | None = None,
    weights: str | None = None,
    hints: Hints = Hints(),  # noqa: B008 (frozen)
) -> tuple[VideoModel, ConversionReport]:
    """Load a public checkpoint of another project; arguments ask for what the source is not.

    Args:
        source: weight file, folder with ``config.json``, or ``hf://org/name[@revision]``.
        backbone: family that an image ViT becomes, such as ``vivit_fe``, or a mapping of config fields with kind.
        num_frames: frames per clip; temporal positions are resized linearly.
        image_size: side of the crop [pixels]; spatial positions are resized by bicubic interpolation.
        tubelet: tubelet depth [frames]; the kernel is inflated as ``inflate`` says.
        inflate: ``central`` puts an image kernel into the middle frame, ``average`` spreads it evenly.
        num_classes: size of the classifier; another size than the source's gives a new, random one.
        class_names: names in label order, for sources that have none.
        source_format: a name of ``FORMATS``, where the file's own looks mislead.
        weights: entry of a training file that holds the weights, such as ``model_ema``; ``ema``: its moving average.
        hints: what the file cannot say about itself.

    Returns:
        The model in eval mode on the CPU in float32, and what became of every tensor.

    Raises:
        WeightsError: unreadable, unsafe, unknown or incomplete sources; classes that do not fit.
        ConfigError: a wish that no model can fulfil.
    """
    where = str(source)
    files = read_files(fetch(source), where, weights)
    foreign = _translate(files, source_format, hints)
    _check_shapes(foreign, where)
    count = num_classes or foreign.num_classes
    if count is None:
        raise WeightsError(f"{where}: it has no classifier; give num_classes for a new one")
    wish = Wish(backbone, num_frames, image_size, tubelet, inflate, num_classes)
    target = wished_backbone(foreign, wish, where)
    clip, protocol = wished_clip(foreign, target, wish)
    config = from_tree(ModelConfig, {"backbone": target.model_dump(), "num_classes": count})
    make = partial(build_model, config, clip, num_classes=count, eval_protocol=protocol)
    with torch.device("meta"):
        ghost = make()
    adapted = adapt(foreign, target, clip, wish)
    model, new = _fill(ghost, make, adapted, where)
    model.class_names, note = _agree_on_names(class_names, foreign, count, where)
    beside = ", ".join(sorted(map(str, files.extras)))
    notes = [
        cast_note(files.tensors.values()),
        note,
        f"beside the weights and not used: {beside}" if beside else None,
        told_left_out(files.left_out).removeprefix("; ") or None,
        *files.notes,
    ]
    return model.eval(), _report(where, foreign, adapted, new, model, notes)


def convert(
    source: str | Path,
    out: str | Path,
    *,
    backbone: str | None = None,
    num_frames: int | None = None,
    image_size: int | None = None,
    tubelet: int | None = None,
    inflate: Inflation = "central",
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    source_format: str | None = None,
    weights: str | None = None,
    source_frames: int | None = None,
    source_family: str | None = None,
    num_heads: int | None = None,
    preset: str | None = None,
    channel_order: str | None = None,
) -> ConversionReport:
    """Write a public checkpoint as our checkpoint folder ``out``; arguments as in ``load_foreign`` and ``Hints``.

    Raises WeightsError when ``out`` holds something already, beside what ``load_foreign`` raises.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"'{folder}' exists and is not an empty folder; give another place for the checkpoint")
    model, report = load_foreign(
        source,
        backbone=backbone,
        num_frames=num_frames,
        image_size=image_size,
        tubelet=tubelet,
        inflate=inflate,
        num_classes=num_classes,
        class_names=class_names,
        source_format=source_format,
        weights=weights,
        hints=Hints(num_heads, source_frames, source_family, preset, channel_order),
    )
    save_pretrained(model, folder)
    return report


def _translate(files: Files, source_format: str | None, hints: Hints) -> Foreign:
    """The source in our names. Raises WeightsError, which names what was left out of the file unread."""
    check_settings(files)
    try:
        files = replace(files, tensors=without_wrappers(files.tensors, files.where))
        files, found = _recognise(files, source_format)
        return _read(files, found, hints)
    except WeightsError as error:
        raise WeightsError(f"{error}{told_left_out(files.left_out)}") from None


def _recognise(files: Files, name: str | None) -> tuple[Files, Format]:
    """(files with the names that a reader knows, that reader). Raises WeightsError."""
    if name is not None:
        if name not in FORMATS:
            raise WeightsError(f"source_format '{name}' is not one of {', '.join(FORMATS)}")
        return files, FORMATS[name]
    if "vidtok" in files.extras:
        raise WeightsError(f"{files.where}: a vidtok training checkpoint; give its name the ending .ckpt")
    for tensors in peeled(files.tensors):
        seen = replace(files, tensors=tensors)
        for candidate in FORMATS.values():
            if candidate.matches(seen):
                return seen, candidate
    some = sorted(files.tensors)[0] if files.tensors else "no tensor at all"
    told = files.config.get("model_type")
    kind = f"a '{told}' model" if told else f"of a model with the tensor '{some}'"
    raise WeightsError(f"{files.where}: {kind}, which is none that is known: {', '.join(FORMATS)}")


def _read(files: Files, reader: Format, hints: Hints) -> Foreign:
    """What the file holds in our names. Raises WeightsError, whatever its tensors and settings are."""
    try:
        return reader.read(files, hints)
    except ValidationError as error:
        raise WeightsError(f"{files.where}: its settings do not describe a model: {explain(error)}") from None
    except ConfigError as error:
        raise WeightsError(f"{files.where}: its settings do not describe a model: {error}") from None
    except MISFITS as error:  # say, a kernel of one axis; the cause stays for those who look for it
        raise WeightsError(f"{files.where}: its tensors do not fit together: {first_line(error)}") from error


def _check_shapes(foreign: Foreign, where: str) -> None:
    """Compare every tensor with the model that the file describes. Raises WeightsError before anything is built."""
    head = foreign.weights.get("head.weight", torch.empty(1))
    try:
        config = from_tree(ModelConfig, {"backbone": foreign.backbone.model_dump()})
        with torch.device("meta"):
            own = build_model(
                config, foreign.clip, num_classes=head.shape[0] if head.numel() and head.ndim else 1
            ).state_dict()
    except ConfigError as error:
        raise WeightsError(f"{where}: its settings do not describe a model: {error}") from None
    for name, value in foreign.weights.items():
        if name in own and value.shape != own[name].shape:
            theirs = ", ".join(foreign.origin[name])
            raise WeightsError(
                f"{where}: tensors do not fit together: {name} is {list(value.shape)}, the model has "
                f"{list(own[name].shape)}; made of '{theirs}'"
            )


def _fill(
    ghost: VideoModel, make: Callable[[], VideoModel], adapted: Adapted, where: str
) -> tuple[VideoModel, dict[str, str]]:
    """(model with the adapted weights, new parameters). What may be new starts as a fresh model's."""
    new = {}
    for name in sorted(ghost.state_dict().keys() - adapted.weights.keys()):
        reason = next((reason for pattern, reason in adapted.new.items() if re.fullmatch(pattern, name)), None)
        if reason is None:
            raise WeightsError(f"{where}: it has nothing for the parameter '{name}' of {ghost.config.backbone.kind}")
        new[name] = reason
    if not new:
        load_weights(ghost, adapted.weights, where)
        return ghost, new
    model = make()
    fresh = model.state_dict()
    load_weights(model, adapted.weights | {name: fresh[name].clone() for name in new}, where)
    return model, new


def _agree_on_names(
    given: Sequence[str] | None, foreign: Foreign, count: int, where: str
) -> tuple[tuple[str, ...] | None, str | None]:
    """(class names, note). Raises WeightsError when given names do not fit the classifier or its own names."""
    own = foreign.class_names if count == foreign.num_classes else None
    if given is None:
        return own, kinetics_note(own)
    if len(given) != count:
        raise WeightsError(f"{where}: {len(given)} class names are given, the classifier has {count} classes")
    wrong = next((i for i in range(count) if own is not None and own[i] != given[i]), None)
    if wrong is not None and own is not None:
        raise WeightsError(
            f"{where}: class {wrong} is '{own[wrong]}' in the source and '{given[wrong]}' in class_names"
        )
    return tuple(given), kinetics_note(tuple(given))


def kinetics_note(names: tuple[str, ...] | None) -> str | None:
    """A warning when Kinetics-400 names are not in the order that every public list has: the alphabet's."""
    if names is None or len(names) != 400 or "abseiling" not in names or list(names) == sorted(names):
        return None
    return "the class names are Kinetics-400's, but not in its usual, alphabetical order: compare labels by name"


def _report(
    where: str, foreign: Foreign, adapted: Adapted, new: dict[str, str], model: VideoModel, notes: list[str | None]
) -> ConversionReport:
    clip, kind = model.preprocessing, model.config.backbone.kind
    names = model.state_dict().keys()
    return ConversionReport(
        source=where,
        format=foreign.format,
        target=f"{kind}, {clip.frames} frames of {clip.size} pixels, {model.num_classes} classes",
        loaded={name: foreign.origin[name] for name in names if name not in adapted.changed and name not in new},
        adapted={name: adapted.changed[name] for name in names if name in adapted.changed},
        new=new,
        unused=adapted.unused,
        notes=(*foreign.notes, *adapted.notes, *(note for note in notes if note)),
    )
