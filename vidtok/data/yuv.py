"""Frames as stored, turned into RGB on the model's device: half the bytes to move, and no conversion on the CPU.

``decode_frames(..., pixel_format="yuv420")`` gives the planes. At stored size the result is that of FFmpeg's scaler,
which repeats chroma samples too, above 44 dB: it rounds otherwise. Scaled pictures differ in more, as chroma is scaled
to half the height here; on ordinary footage they are above 38 dB.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vidtok.data.decode import VideoInfo

_LUMA_WEIGHTS = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
"""Shares of red and blue in luma, by name of the matrix; ITU-T H.273, table 4."""


def rgb_matrix(info: VideoInfo) -> Tensor:
    """The affine map from a video's colours to RGB.

    Returns:
        float32 [3, 4]: RGB in 0..255 is ``matrix @ (Y, U, V, 1)`` with Y, U, V as stored in 0..255. Videos of one batch
        may differ: stack them.
    """
    red, blue = _LUMA_WEIGHTS[info.matrix]
    green = 1 - red - blue
    luma_range, luma_start, chroma_range = (255.0, 0.0, 255.0) if info.is_full_range else (219.0, 16.0, 224.0)
    v_to_red, u_to_blue = 2 * (1 - red), 2 * (1 - blue)
    chroma = torch.tensor(
        [[0.0, v_to_red], [-u_to_blue * blue / green, -v_to_red * red / green], [u_to_blue, 0.0]], dtype=torch.float64
    )
    scaled = torch.cat([torch.full((3, 1), 255 / luma_range), chroma * (255 / chroma_range)], dim=1)
    offset = scaled @ torch.tensor([luma_start, 128.0, 128.0], dtype=torch.float64)
    return torch.cat([scaled, -offset[:, None]], dim=1).float()


def yuv420_to_rgb(planes: Tensor, matrix: Tensor) -> Tensor:
    """Convert stored planes to RGB, on their device.

    Args:
        planes: uint8 [..., T, H * 3 / 2, W] with even H and W: Y, then U, then V.
        matrix: float32 [..., 3, 4] of the same leading axes, or [3, 4] for all: see :func:`rgb_matrix`.

    Returns:
        float32 [..., 3, T, H, W] in 0..255, what :func:`vidtok.data.transforms.normalise` takes.
    """
    *batch, num_frames, rows, width = planes.shape
    height = rows * 2 // 3
    flat = planes.reshape(-1, rows, width)
    chroma = flat[:, height:].reshape(-1, 2, height // 2, width // 2)
    chroma = F.interpolate(chroma, size=(height, width), mode="nearest")
    yuv = torch.cat([flat[:, None, :height], chroma], dim=1).reshape(*batch, num_frames, 3, height, width).float()
    matrix = matrix.to(planes.device)
    rgb = torch.einsum("...cd,...tdhw->...cthw", matrix[..., :3], yuv) + matrix[..., 3:, None, None]
    return rgb.clamp_(0, 255)
