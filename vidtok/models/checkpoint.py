"""Our own checkpoints: training ``.ckpt`` files and release folders. Nothing is ever unpickled freely.

A training checkpoint is Lightning's, with a ``vidtok`` entry of plain values; a release is a folder of
``model.safetensors``, ``config.json`` and a model card. Both hold the model config, preprocessing, test
protocol and class names, so that one file answers everything that ``infer`` asks.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, StrictBool, StrictStr, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vidtok.config import (
    Budget,
    BudgetField,
    ClipConfig,
    CompressorUnion,
    EvalConfig,
    ModelConfig,
    Section,
    brief,
    format_budget,
    from_tree,
)
from vidtok.errors import ConfigError, EnvironmentFault, WeightsError
from vidtok.models.archive import (
    UNREADABLE,
    check_zip,
    file_size,
    first_line,
    is_zip,
    read_json_object,
    refusal,
)
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model
from vidtok.models.card import model_card
from vidtok.models.tensors import CHECKSUM, cast_note, checksum, fitted
from vidtok.nn.buffers import Buffered
from vidtok.text import to_json

logger = logging.getLogger(__name__)

FORMAT = 1
WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
CKPT_SUFFIX = ".ckpt"


class Entry(Section):
    """The ``vidtok`` entry of a checkpoint, checked before anything is built; other keys are later versions'."""

    model_config = ConfigDict(extra="ignore")

    model: ModelConfig
    clip: ClipConfig
    eval: EvalConfig
    class_names: tuple[StrictStr, ...] | None = None
    multi_label: StrictBool = False
    budget: BudgetField | None = None

    @field_validator("model")
    @classmethod
    def _says_its_classes(cls, value: ModelConfig) -> ModelConfig:
        if value.num_classes is None:
            raise ValueError("num_classes is missing")
        return value


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


def restore(entry: Any, weights: Mapping[str, Any], where: str) -> VideoModel:
    """Build the model that ``entry`` describes and give it ``weights``. Raises WeightsError."""
    told = read_entry(entry, where)
    count = told.model.num_classes
    assert count is not None
    try:
        with torch.device("meta"):
            model = build_model(told.model, told.clip, num_classes=count, eval_protocol=told.eval)
        if told.budget is not None:
            model.set_budget(told.budget)
    except ConfigError as error:
        raise WeightsError(f"{where}: its config does not describe a model: {error}") from None
    load_weights(model, weights, where)
    note = cast_note(weights.values())
    if note:
        logger.warning("%s: %s", where, note)
    model.class_names, model.multi_label = told.class_names, told.multi_label
    return model.eval()


def read_entry(entry: Any, where: str) -> Entry:
    """Check a checkpoint's description of itself. Raises WeightsError."""
    version = entry.get("format") if isinstance(entry, dict) else None
    if type(version) is not int or version != FORMAT:
        raise WeightsError(f"{where}: checkpoint format {brief(version)}, this vidtok reads {FORMAT}; upgrade vidtok")
    try:
        told = from_tree(Entry, entry)
    except ConfigError as error:
        raise WeightsError(f"{where}: its config does not describe a model: {error}") from None
    names, count = told.class_names, told.model.num_classes
    if names is not None and len(names) != count:
        raise WeightsError(f"{where}: its config names {len(names)} classes, its model has {count}")
    return told


def load_weights(model: VideoModel, weights: Mapping[str, Any], where: str) -> None:
    """Put ``weights`` into ``model``, which may be on the meta device: every key must match, every value be finite.

    Parameters become float32 (``vidtok.models.tensors``). Raises WeightsError.
    """
    model.load_state_dict(fitted(model, weights, where), assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    _materialise_buffers(model)


def _materialise_buffers(model: VideoModel) -> None:
    """Compute the buffers that no file holds where the weights are: a build on the meta device left them empty."""
    device = next(model.parameters()).device
    for module in model.modules():
        if isinstance(module, Buffered):
            module.reset_buffers(device)


def load(
    source: str | Path,
    *,
    compressor: str | CompressorUnion | None = None,
    budget: Budget | str | None = None,
    num_heads: int | None = None,
) -> VideoModel:
    """Load a model in eval mode on the CPU: ``.ckpt`` file, release folder, run folder (best, else last) or ``hf://``.

    Public checkpoints of other projects load too, as they are (``vidtok.models.pretrained``); to adapt one to
    other clips or classes, convert it.

    Args:
        source: the checkpoint.
        compressor: name or config of a compressor to give a dense model, as ``compress_model`` does.
        budget: token budget; when not given the checkpoint's, or the compressor's own.
        num_heads: attention heads of another project's file, where its width does not tell them.

    Raises:
        WeightsError: absent, unreadable, not a checkpoint, or weights that do not fit.
        ConfigError: a compressor that cannot be given to this model, or a budget that does not fit.
    """
    model = _load(source, num_heads)
    if compressor is not None:
        from vidtok.models.warmstart import compress_model

        model, report = compress_model(model, compressor, budget=budget)
        logger.info("%s", report.table())
    elif budget is not None:
        model.set_budget(budget)
    return model


def _load(source: str | Path, num_heads: int | None) -> VideoModel:
    path = fetch(source)
    if path.is_file():
        return _load_ckpt(path) if path.suffix == CKPT_SUFFIX else _load_foreign(source, num_heads)
    if (path / CONFIG_FILE).is_file():
        entry = _read_entry(path)
        return _load_foreign(source, num_heads) if entry is None else _load_folder(path, entry)
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
    if not os.path.exists(path):
        raise WeightsError(f"checkpoint '{text}' not found; give a .ckpt file, a checkpoint folder or hf://org/name")
    if not path.is_dir():
        file_size(path)  # refuses pipes and devices
    return path


def is_own(source: str | Path) -> bool:
    """Whether a source is a checkpoint of ours rather than of another project. Raises WeightsError when absent."""
    path = fetch(source)
    if path.is_dir() and (path / CONFIG_FILE).is_file():
        return _read_entry(path) is not None
    return path.is_dir() or path.suffix == CKPT_SUFFIX


def _load_foreign(source: str | Path, num_heads: int | None) -> VideoModel:
    from vidtok.models.pretrained import Hints, load_foreign

    model, report = load_foreign(source, hints=Hints(num_heads=num_heads))
    for note in report.notes:
        logger.warning("%s: %s", source, note)
    return model


def read_ckpt(path: Path) -> dict[str, Any]:
    """Read a training checkpoint without unpickling code, after its checksums. Raises WeightsError."""
    if not is_zip(path):
        raise WeightsError(f"{path}: not a checkpoint; use a .ckpt that `vidtok train` wrote, or a checkpoint folder")
    check_zip(path, stored=True)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        raise WeightsError(f"{path}: refused: {refusal(error)}; use a .ckpt that `vidtok train` wrote") from None
    if not isinstance(content, dict) or "vidtok" not in content or not isinstance(content.get("state_dict"), dict):
        raise WeightsError(f"{path}: not a vidtok checkpoint; use a .ckpt that `vidtok train` wrote")
    return content


def _load_ckpt(path: Path) -> VideoModel:
    content = read_ckpt(path)
    weights = {str(key).removeprefix("model."): value for key, value in content["state_dict"].items()}
    return restore(content["vidtok"], weights, str(path))


def _read_entry(folder: Path) -> Any:
    """The ``vidtok`` entry of a folder's config; None when the folder is another project's. Raises WeightsError."""
    return read_json_object(folder / CONFIG_FILE).get("vidtok")


def _load_folder(folder: Path, entry: Any) -> VideoModel:
    return restore(entry, read_safetensors(folder / WEIGHTS_FILE), str(folder))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises WeightsError when it is absent, damaged or something else."""
    file_size(path)
    try:
        with safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(CHECKSUM)
        weights = load_file(path)
    except (SafetensorError, *UNREADABLE) as error:
        raise WeightsError(f"{path}: cannot be read: {first_line(error)}") from None
    if written is not None and checksum(weights) != written:
        raise WeightsError(f"{path}: damaged: its tensors are not those that were written; copy or download it again")
    return weights


def save_pretrained(model: VideoModel, folder: str | Path) -> Path:
    """Write ``model.safetensors``, ``config.json`` and a model card; ``load(folder)`` reads it back equal."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    try:
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt", CHECKSUM: checksum(weights)})
    except SafetensorError as error:  # of its own even where a disk is full
        raise EnvironmentFault(f"cannot write '{folder / WEIGHTS_FILE}': {first_line(error)}") from None
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
