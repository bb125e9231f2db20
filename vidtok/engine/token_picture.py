"""Pictures of what the tokens stand for: which patches were kept, merged or dropped, layer by layer.

Shapes: t time steps of (h, w) patches, N = t h w patches, M tokens, p side of a patch [pixels].
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidtok.config import format_budget
from vidtok.data.dataset import VideoViews
from vidtok.data.transforms import normalise
from vidtok.engine.overlay import encode
from vidtok.engine.visualize import FAINT, INK, SHEET_DPI, new_figure, save, shorten
from vidtok.errors import ConfigError
from vidtok.models.backbones import VideoModel
from vidtok.outputs import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOOKING = ("lookup", "semantic")
"""Compressors whose tokens look at all patches with attention; those of others own patches."""
_LEGENDS = (
    "a token of one patch shows its pixels, one of several their mean colour; dark: dropped",
    "bright: what the tokens look at most",
)
_DROPPED = 0.12
"""Brightness of patches that no token stands for."""
_MOST_STEPS, _MOST_LAYERS = 8, 4
_SIDE, _GAP, _LEFT, _TOP = 150, 8, 150, 106
SHARP = 448
"""Side of the pictures of a film [pixels]; those of a sheet are smaller."""
_STRIP = 44
_FPS = 4


def write_tokens(
    model: VideoModel,
    video: VideoViews,
    out: str | Path,
    *,
    num_crops: int = 1,
    place: str = "",
    sharp: VideoViews | None = None,
) -> None:
    """Draw the first clip's tokens: ``.png``, layers in rows and time steps in columns; ``.mp4``, the last layer.

    Args:
        model: the model at the budget that is drawn.
        video: its views; the centre crop of the first clip is taken.
        out: file to write.
        num_crops: crops per clip in ``video``.
        place: which window of how many the clip is of; empty: it is of the whole video.
        sharp: the same views in more pixels than the model sees, for the eye.

    Raises:
        ConfigError: another ending.
        EnvironmentFault: the file cannot be written.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in (".png", ".mp4"):
        raise ConfigError(f"--tokens '{out}' must end with .png or .mp4")
    centre = num_crops // 2
    sources = trace_clip(model, video.views[centre])
    frames = enlarge(step_frames((sharp or video).views[centre], model.lattice[0]))
    if suffix == ".png":
        title = "  ".join(filter(None, (shorten(Path(video.info.path).name, 60), place)))
        save(token_sheet(model, frames, sources, title), out, dpi=SHEET_DPI)
        return
    told = " ".join(filter(None, ("what comes in", place and f"({place})")))
    strip = _text_strip((told, f"after layer {len(sources)}: {len(sources[-1])} tokens"), frames.shape[1])
    with writing(out):
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        encode(Path(out), _side_by_side(strip, frames, render(model, frames, sources[-1])), fps=_FPS)


def trace_clip(model: VideoModel, clip: Tensor) -> list[Tensor]:
    """Shares of the patches in each layer's tokens of one clip uint8 [3, T, S, S]: float32 [M, N] on the CPU."""
    device = next(model.parameters()).device
    settings = model.preprocessing
    return [source[0].cpu() for source in model.trace(normalise(clip[None].to(device), settings.mean, settings.std))]


def step_frames(clip: Tensor, num_steps: int) -> np.ndarray:
    """The middle frame of every time step: uint8 [3, T, S, S] -> uint8 [t, S, S, 3]."""
    tubelet = clip.shape[1] // num_steps
    return clip[:, tubelet // 2 :: tubelet].permute(1, 2, 3, 0).numpy()


def enlarge(frames: np.ndarray) -> np.ndarray:
    """uint8 [t, S, S, 3] -> the same in a whole multiple of S that is at least ``SHARP``."""
    factor = -(-SHARP // frames.shape[1])
    if factor == 1:
        return frames
    planes = F.interpolate(torch.from_numpy(frames).movedim(-1, 1).float(), scale_factor=factor, mode="bicubic")
    return planes.round().clamp(0, 255).byte().movedim(1, -1).numpy()


def render(model: VideoModel, frames: np.ndarray, source: Tensor) -> np.ndarray:
    """Redraw frames uint8 [t, S, S, 3] as the tokens of a layer see them."""
    draw = render_attention if model.config.compressor.kind in _LOOKING else render_tokens
    return draw(frames, source, model.lattice)


def render_attention(frames: np.ndarray, source: Tensor, lattice: tuple[int, int, int]) -> np.ndarray:
    """Each patch as bright as the share of all tokens' attention that it gets, the brightest 5 % at full strength."""
    p = frames.shape[1] // lattice[1]
    share = source.sum(0).numpy()
    light = (share / max(np.quantile(share, 0.95), 1e-12)).clip(_DROPPED, 1).reshape(lattice)
    mask = np.repeat(np.repeat(light, p, axis=1), p, axis=2)[..., None]
    return np.rint(frames * mask).astype(np.uint8)


def render_tokens(frames: np.ndarray, source: Tensor, lattice: tuple[int, int, int]) -> np.ndarray:
    """Redraw frames as the tokens see them: uint8 [t, S, S, 3] -> the same shape.

    A patch belongs to the token in which its share is largest. A token that stands for one patch shows its pixels, one
    that stands for several their mean colour, with a line around them; what no token stands for is dark.
    """
    t, h, w = lattice
    p = frames.shape[1] // h
    patches = frames.reshape(t, h, p, w, p, 3).transpose(0, 1, 3, 2, 4, 5).reshape(t * h * w, p, p, 3) / 255.0
    share, owner = (part.numpy() for part in source.max(0))
    is_dropped = share == 0
    belongs = (owner == np.arange(len(source))[:, None]) & ~is_dropped  # [M, N]
    members = belongs.sum(1)
    colours = belongs @ patches.mean((1, 2)) / np.maximum(members, 1)[:, None]  # [M, 3]
    is_single = (members[owner] == 1) & (share > 0.5)
    drawn = np.where(is_single[:, None, None, None], patches, colours[owner][:, None, None])
    drawn = np.where(is_dropped[:, None, None, None], _DROPPED * patches, drawn)
    label = np.where(is_dropped, -1, owner).reshape(t, h, w)
    lines = _borders(label, ~is_single.reshape(t, h, w), p)
    drawn = drawn.reshape(t, h, w, p, p, 3).transpose(0, 1, 3, 2, 4, 5).reshape(t, h * p, w * p, 3)
    return np.rint(255 * np.where(lines[..., None], 1.0, drawn)).clip(0, 255).astype(np.uint8)


def _borders(label: np.ndarray, grouped: np.ndarray, p: int) -> np.ndarray:
    """True on the pixels between two patches of different tokens where one is grouped: [t, h, w] -> [t, h p, w p]."""
    lines = np.zeros((label.shape[0], label.shape[1] * p, label.shape[2] * p), dtype=bool)
    big, either = (np.repeat(np.repeat(part, p, axis=1), p, axis=2) for part in (label, grouped & (label >= 0)))
    width = max(p // 24, 1)
    for step in range(1, width + 1):
        lines[:, step:] |= (big[:, step:] != big[:, :-step]) & (either[:, step:] | either[:, :-step])
        lines[:, :, step:] |= (big[:, :, step:] != big[:, :, :-step]) & (either[:, :, step:] | either[:, :, :-step])
    return lines


def chosen_layers(counts: Sequence[int]) -> list[int]:
    """Layers worth a row: those after which there are fewer tokens, else some spread over the depth."""
    changes = [layer for layer in range(1, len(counts)) if counts[layer] != counts[layer - 1]]
    if not changes:
        changes = np.linspace(0, len(counts) - 1, _MOST_LAYERS).round().astype(int).tolist()
    return sorted(set(changes))[-_MOST_LAYERS:]


def token_sheet(model: VideoModel, frames: np.ndarray, sources: Sequence[Tensor], title: str) -> "Figure":
    """Time steps in columns, the frames and then some layers in rows; see :func:`render`."""
    columns = np.linspace(0, len(frames) - 1, min(len(frames), _MOST_STEPS)).round().astype(int)
    rows: list[tuple[str, np.ndarray]] = [("what comes in", frames)]
    for layer in chosen_layers([len(source) for source in sources]):
        told = f"after layer {layer + 1}\n{len(sources[layer])} tokens"
        rows.append((told, render(model, frames, sources[layer])))
    width = _LEFT + len(columns) * (_SIDE + _GAP) + _GAP * 3
    height = _TOP + len(rows) * (_SIDE + _GAP) + _GAP * 2
    figure = new_figure(width / 100, height / 100, layout="none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    kind, num_patches = model.config.compressor.kind, sources[0].shape[1]
    facts = f"{model.config.backbone.kind} + {kind}, budget {format_budget(model.budget)}, {num_patches} patches"
    style: dict[str, Any] = {"va": "center", "parse_math": False}
    page.text(24, 28, title, fontsize=15, weight="bold", color=INK, **style)
    page.text(24, 54, facts, fontsize=9.5, color=FAINT, **style)
    page.text(24, 76, _LEGENDS[kind in _LOOKING], fontsize=9.5, color=FAINT, **style)
    for row, (told, pictures) in enumerate(rows):
        y = _TOP + row * (_SIDE + _GAP)
        page.text(24, y + _SIDE / 2, told, fontsize=9.5, color=INK, linespacing=1.6, **style)
        for column, step in enumerate(columns):
            x = _LEFT + column * (_SIDE + _GAP)
            page.imshow(pictures[step], extent=(x, x + _SIDE, y + _SIDE, y), interpolation="antialiased")
    page.set(xlim=(0, width), ylim=(height, 0))
    page.set_aspect("auto")
    return figure


def _text_strip(words: Sequence[str], width: int) -> np.ndarray:
    """White on black, one text over each picture: uint8 [h, width * len(words), 3]."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (width * len(words), _STRIP))
    for place, text in enumerate(words):
        corner = (width * place + 12, _STRIP // 4)
        ImageDraw.Draw(picture).text(corner, text, fill="white", font=ImageFont.load_default(_STRIP // 2.2))
    return np.asarray(picture)


def _side_by_side(strip: np.ndarray, frames: np.ndarray, shown: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of pictures under their titles, with even sides, as H.264 wants them."""
    for left, right in zip(frames, shown, strict=True):
        both = np.concatenate([strip, np.concatenate([left, right], axis=1)])
        yield both[: both.shape[0] // 2 * 2, : both.shape[1] // 2 * 2]
