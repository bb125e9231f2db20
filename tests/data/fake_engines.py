"""Engines that misbehave as native decoders do. They run in child processes, which import them by name."""

import ctypes
import os
import signal
from typing import Self

import numpy as np

from vidtok.data.decode import VideoInfo
from vidtok.errors import DecodeError, EnvironmentFault

INFO = VideoInfo("fake", 8, np.arange(8) / 25, 25.0, 4, 2, 0, "none")


class FakeReader:
    """Eight grey frames; frame i has brightness i."""

    name = "fake"
    fallback = None
    info = INFO

    def __init__(self, path: str, **options: object) -> None:
        self.path = path

    def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
        return np.broadcast_to(indices.astype(np.uint8)[:, None, None, None], (len(indices), 2, 4, 3))

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self


class HangingReader(FakeReader):
    """Never returns from a native call that holds Python's lock."""

    def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
        ctypes.PyDLL(None).sleep(1000)
        raise AssertionError


class HangingOnOpen(FakeReader):
    def __init__(self, path: str, **options: object) -> None:
        ctypes.PyDLL(None).sleep(1000)


class CrashingReader(FakeReader):
    """Dies of a segmentation fault."""

    def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError


class TalkativeReader(FakeReader):
    """Prints on stdout behind Python's back."""

    def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
        os.write(1, b"[native] hello\n")
        return super().read(indices)


class RefusingReader(FakeReader):
    def __init__(self, path: str, **options: object) -> None:
        raise DecodeError(f"{path}: is refused")


class FaultyReader(FakeReader):
    """Has a bug of ours."""

    def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
        raise ZeroDivisionError


class GreedyReader(FakeReader):
    """Wants more memory than there is."""

    def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
        raise MemoryError


class AbsentReader(FakeReader):
    """Is not installed."""

    def __init__(self, path: str, **options: object) -> None:
        raise EnvironmentFault("decoder 'decord' is not installed")
