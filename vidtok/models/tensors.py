"""Which tensors may become weights. Every source passes here: our files, release folders and other projects' files.

Parameters are float32; other floating types become it and are reported. Buffers have the type that the model declares.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vidtok.config import brief
from vidtok.errors import WeightsError

CHECKSUM = "sha256"
"""Key of a safetensors file's metadata: the checksum of its tensors, which tools that rewrite the file leave out."""

ALIGNMENT = 64
"""Bytes to which torch aligns its own memory."""


def require_printable(names: Iterable[str], where: str) -> None:
    """Names go into messages and reports. Raises WeightsError for one that would steer a terminal."""
    odd = next((name for name in names if not name.isprintable()), None)
    if odd is not None:
        raise WeightsError(f"{where}: a tensor is called {brief(odd)}, which is no name: not a file of weights")


def plain_tensor(value: Any, name: str, where: str) -> Tensor:
    """A dense tensor with values of its own, as it is. Raises WeightsError for everything else."""
    require_printable([name], where)
    if not isinstance(value, Tensor):
        raise WeightsError(f"{where}: '{name}' is a {type(value).__name__}, not a tensor: not a file of weights")
    odd = _oddity(value)
    if odd is not None:
        raise WeightsError(f"{where}: '{name}' is {odd}; only dense tensors are loaded")
    return value.detach()


def _oddity(value: Tensor) -> str | None:
    if type(value) not in (Tensor, nn.Parameter):
        return f"a {type(value).__name__}"
    if value.layout != torch.strided or value.is_nested:
        return f"sparse or nested ({str(value.layout).removeprefix('torch.')})"
    if value.is_quantized or value.is_complex():
        return f"{'quantised' if value.is_quantized else 'complex'} ({_short(value.dtype)})"
    if value.device.type == "meta":
        return "without values"
    if value.nbytes > value.untyped_storage().nbytes():
        return f"{list(value.shape)} and its file holds only {value.untyped_storage().nbytes()} bytes of it"
    return None


def as_parameter(value: Any, name: str, where: str) -> Tensor:
    """A tensor as a parameter: float32, its values unchanged. Raises WeightsError.

    Refused are integers and truth values, which are no weights, and numbers that are not finite.
    """
    tensor = plain_tensor(value, name, where)
    if not tensor.is_floating_point():
        raise WeightsError(
            f"{where}: '{name}' holds {_short(tensor.dtype)}, a parameter has to be floating-point; ask for the "
            "weights before quantisation"
        )
    result = tensor.float()
    bad = num_not_finite(result)
    if bad:
        lost = " as float32" if bad > num_not_finite(tensor) else ""
        raise WeightsError(
            f"{where}: '{name}' has {bad} of {tensor.numel()} values that are not finite{lost} (nan or inf): the model "
            "diverged or the file is damaged; use an earlier checkpoint"
        )
    return result


def as_buffer(value: Any, name: str, where: str, declared: torch.dtype) -> Tensor:
    """A tensor as a buffer of the type that the model declares. Raises WeightsError when it is of another kind."""
    if declared.is_floating_point:
        return as_parameter(value, name, where).to(declared)
    tensor = plain_tensor(value, name, where)
    if tensor.is_floating_point():
        raise WeightsError(f"{where}: '{name}' holds {_short(tensor.dtype)}, the model has {_short(declared)} there")
    return tensor.to(declared)


def num_not_finite(tensor: Tensor) -> int:
    """How many values are nan or infinite; nan spreads through minimum and maximum, so that one pass is enough."""
    if tensor.numel() == 0:
        return 0
    lowest, highest = torch.aminmax(tensor)
    if lowest.isfinite() and highest.isfinite():
        return 0
    return int((~tensor.isfinite()).sum())


def fitted(module: nn.Module, weights: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    """``weights`` by the rules above, each with memory of its own. Names and shapes must be those of ``module``.

    The module may be on the meta device. Raises WeightsError with the first name.
    """
    own, parameters = module.state_dict(), {name for name, _ in module.named_parameters()}
    _require_same_names(own, weights, where)
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, target in own.items():
        value = weights[name]
        shape = list(value.shape) if isinstance(value, Tensor) else None
        if shape is not None and value.shape != target.shape:
            raise WeightsError(
                f"{where}: weights do not fit the model: {name} is {shape}, the model has {list(target.shape)}"
            )
        is_parameter = name in parameters
        value = as_parameter(value, name, where) if is_parameter else as_buffer(value, name, where, target.dtype)
        out[name] = _own_memory(value, seen)
    return out


def _require_same_names(own: Mapping[str, Tensor], weights: Mapping[str, Any], where: str) -> None:
    require_printable(weights, where)
    wrong = [f"{name} is missing" for name in own.keys() - weights.keys()]
    wrong += [f"{name} is unknown" for name in weights.keys() - own.keys()]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise WeightsError(f"{where}: weights do not fit the model: {sorted(wrong)[0]}{more}")


def _own_memory(value: Tensor, seen: set[int]) -> Tensor:
    """Contiguous and aligned; copied where it shares memory, because training would change both.

    Files put tensors anywhere, and matrix products of unaligned ones differ in their last bits.
    """
    start, storage = value.data_ptr(), value.untyped_storage()
    is_own = start not in seen and storage.nbytes() == value.nbytes
    seen.add(start)
    if is_own and value.is_contiguous() and start % ALIGNMENT == 0:
        return value
    return value.clone(memory_format=torch.contiguous_format)


def cast_note(tensors: Iterable[Any]) -> str | None:
    """``3 tensors of float16 became float32``; None where all were that already."""
    types = Counter(
        _short(value.dtype)
        for value in tensors
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float32
    )
    if not types:
        return None
    told = ", ".join(f"{count} {'tensor' if count == 1 else 'tensors'} of {name}" for name, count in types.items())
    return f"{told} became float32"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {_short(value.dtype)} {list(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
