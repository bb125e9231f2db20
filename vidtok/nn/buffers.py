"""Buffers that follow from a module's settings: they are in no state dict, and are where the module is."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Buffered(nn.Module):
    """A module whose buffers are computed, never loaded: when it is built, when a setting changes, and after meta.

    ``torch.device`` as a context, ``to`` and ``to_empty`` therefore do with them what they do with parameters.
    """

    @abstractmethod
    def make_buffers(self) -> dict[str, Tensor]:
        """The buffers' values by name, computed on the CPU whatever the default device is."""

    def reset_buffers(self, device: torch.device | None = None) -> None:
        """Compute the buffers on ``device``; None: where they are, and in a new module torch's default device."""
        own = next(self.buffers(recurse=False), None)
        place = device or (torch.get_default_device() if own is None else own.device)
        for name, value in self.make_buffers().items():
            self.register_buffer(name, value.to(place), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As torch's, behind ``to`` and ``to_empty``; what was empty on the meta device is computed."""
        was_empty = any(buffer.is_meta for buffer in self.buffers(recurse=False))
        result: Any = super()._apply(fn, recurse)
        if was_empty:
            self.reset_buffers()
        return result
