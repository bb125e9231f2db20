"""Our own checkpoints: training ``.ckpt`` files and release folders. Nothing is ever unpickled freely.

A training checkpoint is Lightning's, with a ``vidtok`` entry of plain values; a release is a folder of
``model.safetensors``, ``config.json`` and a model card. Both hold the model config, preprocessing, test
protocol and class names, so that one file answers everything that ``infer`` asks.
"""

import json
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vidtok.config import (
    Budget,
    ClipConfig,
    CompressorUnion,
    EvalConfig,
    ModelConfig,
    format_budget,
    from_tree,
)
from vidtok.errors import ConfigError, WeightsError
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model
from vidtok.models.card import model_card
from vidtok.text import to_json

logger = logging.getLogger(__name__)

FORMAT = 1
WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
CKPT_SUFFIX = ".ckpt"


def describe(model: VideoModel) -> dict[str, Any]:
    """Everything but the weights, as plain values: the ``vidtok`` entry of a checkpoint."""
    return {
        "format": FORMAT,
        "model": model.config.model_dump(mode="json"),
        "clip": model.preprocessing.model_dump(mode="json"),
        "eval": model.eval_protocol.model_dump(mode="json"),
        "class_names": list(model.class_names) if model.class_names else None,
        "multi_label": model.multi_label,
        "budget": None if model.budget is None else format_budget(model.budget),
    }


def restore(entry: dict[str, Any], weights: dict[str, Tensor], where: str) -> VideoModel:
    """Build the model that ``entry`` describes and give it ``weights``. Raises WeightsError."""
    if entry.get("format") != FORMAT:
        raise WeightsError(
            f"{where}: checkpoint format {entry.get('format')}, this vidtok reads {FORMAT}; upgrade vidtok"
        )
    try:
        config, clip = from_tree(ModelConfig, entry["model"]), from_tree(ClipConfig, entry["clip"])
        protocol = from_tree(EvalConfig, entry["eval"])
        with torch.device("meta"):
            model = build_model(config, clip, num_classes=config.num_classes or 0, eval_protocol=protocol)
    except (KeyError, ConfigError) as error:
        raise WeightsError(f"{where}: its config does not describe a model: {error}") from None
    load_weights(model, weights, where)
    model.class_names = tuple(entry["class_names"]) if entry.get("class_names") else None
    model.multi_label = bool(entry.get("multi_label"))
    if entry.get("budget"):
        model.set_budget(entry["budget"])
    return model.eval()


def load_weights(model: VideoModel, weights: dict[str, Tensor], where: str) -> None:
    """Put ``weights`` into ``model``, which may be on the meta device. Every key must match. Raises WeightsError."""
    own = model.state_dict()
    wrong = [f"{key} is missing" for key in own.keys() - weights.keys()]
    wrong += [f"{key} is unknown" for key in weights.keys() - own.keys()]
    wrong += [
        f"{key} is {list(weights[key].shape)}, the model has {list(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise WeightsError(f"{where}: weights do not fit the model: {sorted(wrong)[0]}{more}")
    model.load_state_dict(weights, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    _materialise_buffers(model)


def _materialise_buffers(model: VideoModel) -> None:
    """Recompute what a build on the meta device left empty: the resize matrices of the budget."""
    for module in model.modules():
        if hasattr(module, "reset_buffers"):
            module.reset_buffers()


def load(
    source: str | Path, *, compressor: str | CompressorUnion | None = None, budget: Budget | str | None = None
) -> VideoModel:
    """Load a model in eval mode on the CPU: ``.ckpt`` file, release folder, run folder (best, else last) or ``hf://``.

    Public checkpoints of other projects load too, as they are (``vidtok.models.pretrained``); to adapt one to
    other clips or classes, convert it.

    Args:
        source: the checkpoint.
        compressor: name or config of a compressor to give a dense model, as ``compress_model`` does.
        budget: token budget; when not given the checkpoint's, or the compressor's own.

    Raises:
        WeightsError: absent, unreadable, not a checkpoint, or weights that do not fit.
        ConfigError: a compressor that cannot be given to this model, or a budget that does not fit.
    """
    model = _load(source)
    if compressor is not None:
        from vidtok.models.warmstart import compress_model

        model, report = compress_model(model, compressor, budget=budget)
        logger.info("%s", report.table())
    elif budget is not None:
        model.set_budget(budget)
    return model


def _load(source: str | Path) -> VideoModel:
    path = fetch(source)
    if path.is_file():
        return _load_ckpt(path) if path.suffix == CKPT_SUFFIX else _load_foreign(source)
    if (path / CONFIG_FILE).is_file():
        entry = _read_entry(path)
        return _load_foreign(source) if entry is None else _load_folder(path, entry)
    for name in ("best", "last"):  # a run that never validated has no best
        if (path / f"{name}{CKPT_SUFFIX}").is_file():
            return _load_ckpt(path / f"{name}{CKPT_SUFFIX}")
    raise WeightsError(
        f"'{path}' holds neither {CONFIG_FILE} with {WEIGHTS_FILE} nor best.ckpt or last.ckpt: not a checkpoint folder"
    )


def fetch(source: str | Path) -> Path:
    """The local file or folder of a source, which may be ``hf://org/name``. Raises WeightsError when there is none."""
    text = str(source)
    path = _from_hub(text) if text.startswith("hf://") else Path(text)
    if not path.exists():
        raise WeightsError(f"checkpoint '{text}' not found; give a .ckpt file, a checkpoint folder or hf://org/name")
    return path


def is_own(source: str | Path) -> bool:
    """Whether a source is a checkpoint of ours rather than of another project. Raises WeightsError when absent."""
    path = fetch(source)
    if path.is_dir() and (path / CONFIG_FILE).is_file():
        return _read_entry(path) is not None
    return path.is_dir() or path.suffix == CKPT_SUFFIX


def _load_foreign(source: str | Path) -> VideoModel:
    from vidtok.models.pretrained import load_foreign

    model, report = load_foreign(source)
    for note in report.notes:
        logger.warning("%s: %s", source, note)
    return model


def read_ckpt(path: Path) -> dict[str, Any]:
    """Read a training checkpoint without unpickling code. Raises WeightsError."""
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: not a checkpoint; use a .ckpt that `vidtok train` wrote, or a checkpoint folder")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: not a checkpoint that loads safely: {first_line(error)}") from None
    if not isinstance(content, dict) or "vidtok" not in content or "state_dict" not in content:
        raise WeightsError(f"{path}: not a vidtok checkpoint; use a .ckpt that `vidtok train` wrote")
    return content


def _load_ckpt(path: Path) -> VideoModel:
    content = read_ckpt(path)
    weights = {key.removeprefix("model."): value for key, value in content["state_dict"].items()}
    return restore(content["vidtok"], weights, str(path))


def _read_entry(folder: Path) -> dict[str, Any] | None:
    """The ``vidtok`` entry of a folder's config; None when the folder is another project's. Raises WeightsError."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"{folder / CONFIG_FILE}: not valid JSON: {first_line(error)}") from None
    return config.get("vidtok") if isinstance(config, dict) else None


def _load_folder(folder: Path, entry: dict[str, Any]) -> VideoModel:
    return restore(entry, read_safetensors(folder / WEIGHTS_FILE), str(folder))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises WeightsError when it is absent, truncated or something else."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read: {first_line(error)}") from None


def save_pretrained(model: VideoModel, folder: str | Path) -> Path:
    """Write ``model.safetensors``, ``config.json`` and a model card; ``load(folder)`` reads it back equal."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    names = dict(enumerate(model.class_names or ()))
    config = {"library_name": "vidtok", "vidtok": describe(model), "id2label": names}
    (folder / CONFIG_FILE).write_text(to_json(config, indent=2) + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(model), encoding="utf-8")
    return folder


def _from_hub(source: str) -> Path:
    """Folder of ``hf://org/name[@revision]`` in the hub's cache, fetched when there is a network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = source.removeprefix("hf://").partition("@")
    wanted = ["*.json", "*.safetensors", "README.md"]
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
        if any(folder.glob("*.safetensors")):
            return folder
        pickles = [*wanted, "pytorch_model*.bin"]  # older uploads have nothing else; they are read safely
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=pickles))
    except HFValidationError as error:
        raise WeightsError(f"'{source}' is not of the form hf://org/name[@revision]: {first_line(error)}") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise WeightsError(
            f"'{source}' is not in the local cache and cannot be fetched ({first_line(error)}); either run "
            f"`hf download {name}` where there is a network, or pass --checkpoint PATH"
        ) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
