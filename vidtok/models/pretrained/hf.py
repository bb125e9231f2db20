"""transformers' ViViT, TimeSformer, VideoMAE and ViT folders: what all four have in common."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from vidtok.config import ClipConfig
from vidtok.errors import WeightsError
from vidtok.models.pretrained.hf_families import read_timesformer, read_videomae, read_vit, read_vivit
from vidtok.models.pretrained.source import Files, Foreign, Hints, Ledger

GELUS = {"gelu": "erf", "gelu_fast": "tanh", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
DEFAULTS = {  # what a config that leaves a value out means
    "vivit": {"hidden_act": "gelu_fast", "layer_norm_eps": 1e-6, "num_frames": 32},
    "timesformer": {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_frames": 8},
    "videomae": {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_frames": 16},
    "vit": {"hidden_act": "gelu", "layer_norm_eps": 1e-12},
}
READERS: dict[str, Callable[[Ledger, dict[str, Any], Hints], Foreign]] = {
    "vivit": read_vivit,
    "timesformer": read_timesformer,
    "videomae": read_videomae,
    "vit": read_vit,
}
IN_MEMORY = (  # names of version 5 in memory -> names in files
    (r"(^|\.)layers\.(\d+)\.", r"\1encoder.layer.\2."),
    (r"(layer\.\d+\.attention)\.q_proj\.", r"\1.attention.query."),
    (r"(layer\.\d+\.attention)\.k_proj\.", r"\1.attention.key."),
    (r"(layer\.\d+\.attention)\.v_proj\.", r"\1.attention.value."),
    (r"(layer\.\d+\.attention)\.o_proj\.", r"\1.output.dense."),
    (r"(layer\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(layer\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
)


def matches(files: Files) -> bool:
    return family(files) is not None


def family(files: Files) -> str | None:
    """The model family, by ``config.json`` or by the prefix of the names."""
    told = files.config.get("model_type")
    if told in READERS:
        return told
    return next((name for name in READERS if any(key.startswith(f"{name}.embeddings.") for key in files.tensors)), None)


def read(files: Files, hints: Hints) -> Foreign:
    """Translate names. Raises WeightsError for settings that our models do not have."""
    name = family(files)
    assert name is not None
    config = DEFAULTS[name] | files.config
    _refuse_unknown(config, files.where)
    hints = replace(
        hints,
        num_heads=hints.num_heads or config.get("num_attention_heads"),
        source_frames=hints.source_frames or config.get("num_frames"),
    )
    ledger = Ledger(file_names(files.tensors, name), files.where)
    ledger.set_aside(rf"{name}\.pooler\..*", "pooler, which the classifier does not read")
    told = _told_colours(files.processor)
    foreign = READERS[name](ledger, config | {"gelu": GELUS[config["hidden_act"]], "colours": told}, hints)
    names = class_names(config, foreign.num_classes, files.where)
    return replace(foreign, class_names=names, notes=foreign.notes + _range_note(files.processor, foreign.clip))


def _refuse_unknown(config: dict[str, Any], where: str) -> None:
    if config["hidden_act"] not in GELUS:
        raise WeightsError(f"{where}: hidden_act '{config['hidden_act']}' is not one of {', '.join(GELUS)}")


def file_names(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Names as a classifier's files have them; dumps from memory and bare encoders have others."""
    renamed = {}
    for key, value in tensors.items():
        for pattern, replacement in IN_MEMORY:
            key = re.sub(pattern, replacement, key)
        if name == "videomae":
            key = re.sub(r"attention\.(q|v)\w+\.bias$", r"attention.\1_bias", key)
        is_bare = key.startswith(("embeddings.", "encoder.layer.", "layernorm.", "pooler."))
        renamed[f"{name}.{key}" if is_bare else key] = value
    return renamed


def class_names(config: dict[str, Any], num_classes: int | None, where: str) -> tuple[str, ...] | None:
    """Names of ``id2label`` in label order; None for placeholders. Raises WeightsError when they do not fit."""
    table = {int(key): str(name) for key, name in (config.get("id2label") or {}).items()}
    if num_classes is None or all(re.fullmatch(r"LABEL_\d+", name) for name in table.values()):
        return None
    if sorted(table) != list(range(num_classes)):
        raise WeightsError(f"{where}: id2label names {len(table)} classes, the classifier has {num_classes}")
    return tuple(table[label] for label in range(num_classes))


def _told_colours(processor: dict[str, Any]) -> dict[str, Any] | None:
    """Mean and std of ``preprocessor_config.json``; None when it does not say."""
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    return {"mean": tuple(processor["image_mean"]), "std": tuple(processor["image_std"])}


def fed_range(processor: dict[str, Any]) -> tuple[float, float] | None:
    """What the first channel of black and of white becomes under a processor's config; None when it is silent."""
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    scale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    shift = 1.0 if processor.get("offset", False) else 0.0
    ends = [value * scale - shift for value in (0, 255)]
    if processor.get("do_normalize", True):
        ends = [(value - processor["image_mean"][0]) / processor["image_std"][0] for value in ends]
    return ends[0], ends[1]


def _range_note(processor: dict[str, Any], clip: ClipConfig) -> tuple[str, ...]:
    """Says when the folder's own processor feeds other values than those that are stored."""
    fed, own = fed_range(processor), (-clip.mean[0] / clip.std[0], (1 - clip.mean[0]) / clip.std[0])
    if fed is None or max(abs(a - b) for a, b in zip(fed, own, strict=True)) < 1e-3:
        return ()
    return (
        f"its processor would feed black as {fed[0]:.3g} and white as {fed[1]:.3g}; the weights were trained on "
        f"{own[0]:.3g} and {own[1]:.3g}, which is stored",
    )
