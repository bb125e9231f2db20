"""Starting a wanted model from a checkpoint, ours or public: what ``model.pretrained`` and ``pretrained=`` do."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidtok.config import BackboneUnion, ClipConfig, EvalConfig, ModelConfig, NoneConfig
from vidtok.errors import ConfigError, WeightsError
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model, refusal
from vidtok.models.checkpoint import is_own, load, load_weights
from vidtok.models.pretrained import Hints, load_foreign
from vidtok.models.pretrained.classes import HEADS, fit_heads, match_classes
from vidtok.models.warmstart import compress_model

logger = logging.getLogger(__name__)

WEIGHTS_DECIDE = ("gelu", "norm_eps")
"""Backbone fields that belong to the weights, whatever the recipe says."""


def start_from(
    source: str | Path,
    config: ModelConfig,
    clip: ClipConfig,
    *,
    num_classes: int,
    class_names: Sequence[str] | None = None,
    protocol: EvalConfig | None = None,
) -> tuple[VideoModel, str]:
    """Build ``config`` for ``clip`` with the weights of ``source``.

    Public checkpoints are fitted to the clip's frames and size, the tubelet and the classes, as ``load_foreign``
    does. Our own must be of the same shape. The classifier's rows follow the class names (``match_classes``). A dense
    model's weights start any compressor, as ``compress_model`` does.

    Returns:
        The model, and a table of what was loaded, adapted, new and unused.

    Raises:
        WeightsError: the source is unreadable or does not fit. ConfigError: it has another compressor's weights.
    """
    refused = refusal(config)
    if refused:
        raise ConfigError(refused)
    wanted = _Wanted(config, clip, num_classes, class_names, protocol)
    if is_own(source):
        theirs = load(source)
        if theirs.config.compressor.kind == config.compressor.kind:
            return _from_own(theirs, source, wanted)
        given = config.model_copy(update={"compressor": theirs.config.compressor})
        dense, told = _from_own(theirs, source, replace(wanted, config=given))
    else:
        dense, told = _from_foreign(source, wanted)
    if dense.config.compressor.kind == config.compressor.kind:
        return dense, told
    model, report = compress_model(dense, config.compressor)
    return model, f"{told}\n{report.table()}"


@dataclass(frozen=True, slots=True)
class _Wanted:
    config: ModelConfig
    clip: ClipConfig
    num_classes: int
    class_names: Sequence[str] | None
    protocol: EvalConfig | None

    def build(self) -> VideoModel:
        return build_model(self.config, self.clip, num_classes=self.num_classes, eval_protocol=self.protocol)


def _from_foreign(source: str | Path, wanted: _Wanted) -> tuple[VideoModel, str]:
    """The dense model of the wanted backbone."""
    config, clip, num_classes = wanted.config, wanted.clip, wanted.num_classes
    asked = config.backbone.model_dump(exclude={*WEIGHTS_DECIDE, "drop_path"}, exclude_unset=True)
    theirs, report = load_foreign(
        source,
        backbone=asked | {"kind": config.backbone.kind},
        num_frames=clip.frames,
        image_size=clip.size,
        num_classes=num_classes,
        hints=Hints(num_heads=config.backbone.shape[2]),
    )
    for name in ("mean", "std"):
        if getattr(clip, name) != getattr(theirs.preprocessing, name):
            told = getattr(theirs.preprocessing, name)
            logger.warning("clip.%s is %s, but '%s' was trained with %s", name, getattr(clip, name), source, told)
    backbone = theirs.config.backbone.model_copy(update={"drop_path": config.backbone.drop_path})
    _require_same_shape(backbone, config.backbone, source)
    dense = config.model_copy(update={"backbone": backbone, "compressor": NoneConfig()})
    renewed = "head.weight" in report.new
    model, told = _take_over(theirs, source, replace(wanted, config=dense), renewed=renewed)
    return model, report.table() if renewed else f"{report.table()}\nnote: classifier {told}"


def _require_same_shape(found: BackboneUnion, wanted: BackboneUnion, source: str | Path) -> None:
    if (found.shape, found.patch) != (wanted.shape, wanted.patch):
        raise WeightsError(
            f"'{source}' has (dim, depth, heads) {found.shape} and patch {found.patch}, the model is to have "
            f"{wanted.shape} and {wanted.patch}"
        )


def _from_own(theirs: VideoModel, source: str | Path, wanted: _Wanted) -> tuple[VideoModel, str]:
    model, told = _take_over(theirs, source, wanted, renewed=False)
    names = model.state_dict().keys()
    heads = sum(name.startswith(HEADS) for name in names) if told.startswith("new") else 0
    return model, f"{source}: {len(names) - heads} tensors loaded, {heads} of the heads new\nnote: classifier {told}"


def _take_over(theirs: VideoModel, source: str | Path, wanted: _Wanted, *, renewed: bool) -> tuple[VideoModel, str]:
    """(the wanted model with their weights, what became of the classifier, which is new already when ``renewed``)."""
    model = wanted.build()
    ours, count = wanted.class_names, wanted.num_classes
    rows, told = match_classes(theirs.class_names, theirs.num_classes, None if renewed else ours, count)
    load_weights(model, fit_heads(theirs.state_dict(), model.state_dict(), rows), str(source))
    kept = theirs.class_names if rows is not None and not renewed else None
    model.class_names = kept if ours is None else tuple(ours)
    return model, told
