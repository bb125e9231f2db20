"""Clips that decode like camera footage: Kinetics' usual 340 x 256 H.264, 10 s, at a chosen key-frame interval."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

KEY_FRAME_INTERVALS = (12, 50, 250)
"""As re-encoded for seeking, as many cameras write it, and x264's default."""

WIDTH, HEIGHT, NUM_FRAMES, RATE = 340, 256, 300, 30

_MARGIN = 128
_NOISE = 3.0
_SLOPE = 1.2
"""Spectra of photographs fall about like 1 / frequency."""


def write_clip(path: Path, *, interval: int, seed: int, num_frames: int = NUM_FRAMES) -> Path:
    """Encode a pan over two textures with a cut between them, a moving object and sensor noise.

    x264 at its defaults, so with B frames, one thread. The same arguments draw the same pictures; x264 may spend a few
    bits differently on them from one call to the next.
    """
    rng = np.random.default_rng(seed)
    scenes = [_texture(rng), _texture(rng)]
    noise = rng.normal(0, _NOISE, (8, HEIGHT, WIDTH, 1)).astype(np.float32)
    options = {"preset": "medium", "crf": "23", "x264-params": f"keyint={interval}:threads=1:log-level=none"}
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for time in range(num_frames):
            picture = _picture(scenes[2 * time // num_frames], time) + noise[rng.integers(len(noise))]
            pixels = np.clip(picture, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _texture(rng: np.random.Generator) -> np.ndarray:
    """A picture with the spectrum of a photograph, float32 [HEIGHT + margin, WIDTH + margin, 3] in 10..245."""
    height, width = HEIGHT + _MARGIN, WIDTH + _MARGIN
    spectrum = np.fft.rfft2(rng.standard_normal((height, width, 3)), axes=(0, 1))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])[:, :, None]
    radius[0, 0] = 1
    texture = np.fft.irfft2(spectrum / radius**_SLOPE, s=(height, width), axes=(0, 1))
    texture -= texture.min(axis=(0, 1))
    return (10 + 235 * texture / texture.max(axis=(0, 1))).astype(np.float32)


def _picture(scene: np.ndarray, time: int) -> np.ndarray:
    """The camera's view of a scene with the object before it, float32 [HEIGHT, WIDTH, 3]."""
    left, top = (int(_MARGIN / 2 * (1 + 0.9 * turn)) for turn in (np.sin(time / 23), np.cos(time / 31)))
    view = scene[top : top + HEIGHT, left : left + WIDTH].copy()
    x, y = int(WIDTH / 2 + 100 * np.sin(time / 17)), int(HEIGHT / 2 + 80 * np.cos(time / 11))
    view[y - 24 : y + 24, x - 24 : x + 24] = 220, 60, 40
    return view
