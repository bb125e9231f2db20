"""Which entry of a file holds the weights, and names without what wrappers and training scripts put before them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from vidtok.errors import WeightsError

WRAPPERS = ("params", "model_state", "model", "module", "state_dict", "model_state_dict", "net", "network", "weights")
"""Entries of a file that hold the weights, in the order in which they are looked for."""
NETWORKS = ("teacher", "student")
"""Entries of self-distillation; its evaluation reads the teacher."""
AVERAGES = ("model_ema", "ema_state_dict", "state_dict_ema", "model_ema_state_dict", "ema_model", "ema")
"""Entries that hold a moving average of the weights."""

_INSIDE = re.compile(r"(^|\.)(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|_forward_module)\.")
"""What torch.compile, FSDP and activation checkpointing put anywhere into a name."""
_NEUTRAL = ("module.", "model.")
"""Wrappers that say nothing of the model's kind."""
_PARTS = ("backbone.", "encoder.", "net.", "network.", "student.", "teacher.", "ema_model.", "ema.", "video_model.")
"""Parts of a larger model; cut only when no reader knows the names with them."""
_COUNTERS = {"steps", "n_averaged", "num_updates", "num_batches_tracked", "decay", "initted", "step"}


def choose_entry(tree: Mapping[str, Any], asked: str | None, where: str) -> tuple[str | None, tuple[str, ...]]:
    """(the entry that holds the weights, what to say about the choice); None when the file is the weights itself.

    Args:
        asked: an entry's name; ``ema``: the moving average, whatever its name; None: the plain weights if there are
            any.

    Raises:
        WeightsError: no entry of that name holds weights.
    """
    held = [name for name, entry in tree.items() if isinstance(entry, Mapping) and _holds_tensors(entry)]
    if asked is not None:
        options = [name for name in held if name == asked or (asked == "ema" and name in AVERAGES)]
        if not options:
            there = ", ".join(held) or "none; the file is the weights itself"
            raise WeightsError(f"{where}: weights '{asked}' are not one of its entries with tensors: {there}")
        return options[0], ()
    known = (name for name in (*WRAPPERS, *NETWORKS, *AVERAGES) if isinstance(tree.get(name), Mapping) and tree[name])
    chosen = next(known, None)
    others = [name for name in held if name != chosen] if chosen is not None else []
    notes = [f"weights of '{chosen}'; the file also holds '{name}': weights '{name}' takes those" for name in others]
    if chosen in AVERAGES:
        notes.append(f"'{chosen}', a moving average, is the only set of weights in the file")
    return chosen, tuple(notes)


def _holds_tensors(entry: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.ndim > 1 for value in entry.values())


def without_wrappers(tensors: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Names without what compilers and parallel training put into and before them. Raises WeightsError."""
    plain = {_INSIDE.sub(r"\1", name): value for name, value in tensors.items()}
    if len(plain) != len(tensors):
        raise WeightsError(f"{where}: two tensors have the same name once wrappers are cut; give a file of one model")
    return strip_prefix(plain, _NEUTRAL)


def strip_prefix(tensors: dict[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Names without any of the prefixes, in any order, each as long as most names carry it.

    Most, not all: wrappers prepend to every name but the head's.
    """
    while prefix := next((prefix for prefix in prefixes if _is_common(prefix, tensors)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _is_common(prefix: str, tensors: Mapping[str, Tensor]) -> bool:
    return 2 * sum(key.startswith(prefix) for key in tensors) > len(tensors)


def peeled(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The names as they are, then without the part of a larger model that they are under, and so on inwards."""
    yield tensors
    while prefix := next((prefix for prefix in (*_PARTS, *_NEUTRAL) if _is_common(prefix, tensors)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        yield tensors


def counters(tensors: Mapping[str, Tensor]) -> set[str]:
    """Names of single numbers that averaging and counting leave among the weights."""
    return {name for name, value in tensors.items() if value.ndim == 0 and name.rpartition(".")[2] in _COUNTERS}
