"""From pixels to tokens: tubelet embedding, positions, cls token, and resizing of lattices.

Shapes: B batch, T frames, H W pixels, (t, h, w) lattice, N = t h w patch tokens, P prefix tokens, D width.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vidtok.errors import ConfigError
from vidtok.nn.buffers import Buffered


class TubeletEmbed(nn.Module):
    """Non-overlapping tubelets of (tubelet, patch, patch) pixels, each projected to one token.

    The weight is a 3-D convolution's, so that public checkpoints load; the product is one matrix
    multiplication, which is the same sum and faster than a convolution whose stride is its kernel.
    """

    def __init__(self, dim: int, *, tubelet: int, patch: int) -> None:
        super().__init__()
        self.tubelet, self.patch = tubelet, patch
        self.proj = nn.Conv3d(3, dim, (tubelet, patch, patch), stride=(tubelet, patch, patch))

    def lattice(self, num_frames: int, image_size: int) -> tuple[int, int, int]:
        """(t, h, w) of a clip. Raises ConfigError when tubelets do not fill it."""
        if num_frames % self.tubelet or image_size % self.patch:
            raise ConfigError(
                f"a clip of {num_frames} frames of {image_size} pixels does not divide into tubelets of "
                f"{self.tubelet} frames x {self.patch} pixels; choose multiples"
            )
        side = image_size // self.patch
        return num_frames // self.tubelet, side, side

    def forward(self, clip: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, t, h w, D]."""
        p = self.patch
        tubes = rearrange(clip, "b c (t u) (h p) (w q) -> b t (h w) (c u p q)", u=self.tubelet, p=p, q=p)
        return F.linear(tubes, self.proj.weight.flatten(1), self.proj.bias)


class Positions(nn.Module):
    """Prepends the cls token, if any, and adds one learned table over prefix and patch tokens."""

    def __init__(self, num_tokens: int, dim: int, *, num_prefix: int) -> None:
        super().__init__()
        self.num_prefix = num_prefix
        self.cls_token = nn.Parameter(torch.zeros(1, num_prefix, dim)) if num_prefix else None
        self.pos_embed = nn.Parameter(torch.empty(1, num_prefix + num_tokens, dim))
        nn.init.normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, P+N, D]."""
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return x + self.table()

    def table(self) -> Tensor:
        """[1, P+N, D]."""
        return self.pos_embed


class SpaceTimePositions(Positions):
    """A spatial table that all time steps share, plus a temporal one for patch tokens alone (TimeSformer)."""

    def __init__(self, num_tokens: int, dim: int, *, num_prefix: int, num_steps: int) -> None:
        super().__init__(num_tokens // num_steps, dim, num_prefix=num_prefix)
        self.time_embed = nn.Parameter(torch.zeros(1, num_steps, dim))

    def table(self) -> Tensor:
        prefix, space = self.pos_embed.split([self.num_prefix, self.pos_embed.shape[1] - self.num_prefix], dim=1)
        patches = self.time_embed[:, :, None] + space[:, None]  # [1, t, S, D]
        return torch.cat([prefix, patches.flatten(1, 2)], dim=1)


class SinCosPositions(Buffered):
    """Adds a fixed sine-cosine table over all patch tokens in one row (VideoMAE); not in the state dict."""

    def __init__(self, num_tokens: int, dim: int, *, num_prefix: int) -> None:
        super().__init__()
        assert num_prefix == 0, "the fixed table has no rows for prefix tokens"
        self.num_tokens, self.dim = num_tokens, dim
        self.reset_buffers()

    def make_buffers(self) -> dict[str, Tensor]:
        return {"pos_embed": sincos_table(self.num_tokens, self.dim)}

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        return x + self.pos_embed


def sincos_table(num_tokens: int, dim: int) -> Tensor:
    """Row n: sin(n / 10000^(i/D)) in even columns i, cos of the same angle in column i + 1: [1, N, D] float32."""
    rows = torch.arange(num_tokens, dtype=torch.float64, device="cpu")[:, None]
    columns = torch.arange(dim, dtype=torch.float64, device="cpu")
    angles = rows / 10000 ** (2 * (columns // 2) / dim)
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos()).float()[None]


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept here serves training too, whoever asks first
def resize_matrix(n_in: int, n_out: int) -> Tensor:
    """Linear resize of one axis with antialias: [n_out, n_in] float32, rows sum to 1.

    A triangle filter, widened when shrinking, half-pixel centres: per axis the same numbers as
    ``interpolate(mode="bilinear", antialias=True, align_corners=False)`` and ``jax.image.resize``. Needed
    because torch has no 5-D antialiased interpolation and no bfloat16 one on the CPU.
    """
    scale = n_in / n_out
    width = max(scale, 1.0)
    centres = (torch.arange(n_out, dtype=torch.float64, device="cpu") + 0.5) * scale
    taps = torch.arange(n_in, dtype=torch.float64, device="cpu") + 0.5
    weights = (1 - (taps - centres[:, None]).abs() / width).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True)).float()


def full_precision(device_type: str) -> AbstractContextManager[None]:
    """No autocast inside; devices that have none (meta) need nothing."""
    available = torch.amp.autocast_mode.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


class LatticeResize(Buffered):
    """Separable linear resize of tokens from one lattice to another; axes that keep their size cost nothing."""

    def __init__(self, source: tuple[int, int, int], target: tuple[int, int, int]) -> None:
        super().__init__()
        self.source = source
        self.set_target(target)

    def set_target(self, target: tuple[int, int, int]) -> None:
        self.target = target
        self.reset_buffers()

    def make_buffers(self) -> dict[str, Tensor]:
        """The resize matrix of each axis."""
        sizes = enumerate(zip(self.source, self.target, strict=True))
        return {f"matrix_{axis}": resize_matrix(n_in, n_out) for axis, (n_in, n_out) in sizes}

    def forward(self, x: Tensor) -> Tensor:
        """[B, t h w, D] on the source lattice -> [B, t' h' w', D] on the target lattice, computed in float32."""
        with full_precision(x.device.type):
            y = x.float().unflatten(1, self.source)
            for axis, (n_in, n_out) in enumerate(zip(self.source, self.target, strict=True)):
                if n_in != n_out:
                    matrix = getattr(self, f"matrix_{axis}").float()
                    y = torch.tensordot(matrix, y, dims=([1], [axis + 1])).movedim(0, axis + 1)
        return y.flatten(1, 3).to(x.dtype)
