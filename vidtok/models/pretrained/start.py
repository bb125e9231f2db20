"""Starting a wanted model from a checkpoint, ours or public: what ``model.pretrained`` and ``pretrained=`` do."""

import logging
from pathlib import Path

from vidtok.config import BackboneUnion, ClipConfig, EvalConfig, ModelConfig, NoneConfig
from vidtok.errors import ConfigError, WeightsError
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model, refusal
from vidtok.models.checkpoint import is_own, load, load_weights
from vidtok.models.pretrained import Hints, load_foreign
from vidtok.models.warmstart import compress_model

logger = logging.getLogger(__name__)

WEIGHTS_DECIDE = ("gelu", "norm_eps")
"""Backbone fields that belong to the weights, whatever the recipe says."""


def start_from(
    source: str | Path, config: ModelConfig, clip: ClipConfig, *, num_classes: int, protocol: EvalConfig | None = None
) -> tuple[VideoModel, str]:
    """Build ``config`` for ``clip`` with the weights of ``source``.

    Public checkpoints are fitted to the clip's frames and size, the tubelet and the classes, as ``load_foreign``
    does. Our own must be of the same shape; only heads of another number of classes start anew. A dense model's
    weights start any compressor, as ``compress_model`` does.

    Returns:
        The model, and a table of what was loaded, adapted, new and unused.

    Raises:
        WeightsError: the source is unreadable or does not fit. ConfigError: it has another compressor's weights.
    """
    refused = refusal(config)
    if refused:
        raise ConfigError(refused)
    if is_own(source):
        theirs = load(source)
        if theirs.config.compressor.kind == config.compressor.kind:
            return _from_own(theirs, source, config, clip, num_classes, protocol)
        given = config.model_copy(update={"compressor": theirs.config.compressor})
        dense, told = _from_own(theirs, source, given, clip, num_classes, protocol)
    else:
        dense, told = _from_foreign(source, config, clip, num_classes, protocol)
    if dense.config.compressor.kind == config.compressor.kind:
        return dense, told
    model, report = compress_model(dense, config.compressor)
    return model, f"{told}\n{report.table()}"


def _from_foreign(
    source: str | Path, config: ModelConfig, clip: ClipConfig, num_classes: int, protocol: EvalConfig | None
) -> tuple[VideoModel, str]:
    """The dense model of ``config``'s backbone."""
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
    wanted = config.model_copy(update={"backbone": backbone, "compressor": NoneConfig()})
    model = build_model(wanted, clip, num_classes=num_classes, eval_protocol=protocol)
    load_weights(model, theirs.state_dict(), str(source))
    model.class_names = theirs.class_names
    return model, report.table()


def _require_same_shape(found: BackboneUnion, wanted: BackboneUnion, source: str | Path) -> None:
    if (found.shape, found.patch) != (wanted.shape, wanted.patch):
        raise WeightsError(
            f"'{source}' has (dim, depth, heads) {found.shape} and patch {found.patch}, the model is to have "
            f"{wanted.shape} and {wanted.patch}"
        )


def _from_own(
    theirs: VideoModel,
    source: str | Path,
    config: ModelConfig,
    clip: ClipConfig,
    num_classes: int,
    protocol: EvalConfig | None,
) -> tuple[VideoModel, str]:
    model = build_model(config, clip, num_classes=num_classes, eval_protocol=protocol)
    renewed = ("head.", "lookup_head.") if theirs.num_classes != num_classes else ()
    own = model.state_dict()
    weights = {key: own[key] if key.startswith(renewed) else value for key, value in theirs.state_dict().items()}
    load_weights(model, weights, str(source))
    model.class_names = None if renewed else theirs.class_names
    loaded = sum(not key.startswith(renewed) for key in weights)
    return model, f"{source}: {loaded} tensors loaded, {len(weights) - loaded} of the heads new"
