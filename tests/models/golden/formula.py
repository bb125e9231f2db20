"""Weights and clips that every machine makes alike, so that golden files hold results only."""

import zlib

import numpy as np


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """float32 parameters by name; norms around one, everything else N(0, 0.15), so that logits are of order 1.

    numpy promises that the stream of ``RandomState`` never changes.
    """
    return {name: _parameter(name, shape) for name, shape in shapes.items()}


def _parameter(name: str, shape: list[int]) -> np.ndarray:
    values = 0.15 * np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    is_scale = name.endswith((".weight", ".gamma", "/scale")) and len(shape) == 1
    return (values + is_scale).astype(np.float32)


def clip(shape: list[int]) -> np.ndarray:
    """float32 N(0, 1) input."""
    return np.random.RandomState(7).standard_normal(shape).astype(np.float32)
