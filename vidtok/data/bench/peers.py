"""The same clips read by other libraries as their own documentation does it."""

import importlib
import importlib.util
import os
import sys
import types
import warnings
from functools import partial

import numpy as np

from vidtok.data.bench.readers import Read, Sample

_PACKAGES = ("pytorchvideo.data", "pytorchvideo.transforms")
"""Their __init__ imports what current torchvision no longer has; the modules below them work."""


def peer_readers() -> dict[str, Read]:
    """Those of the peers that are installed."""
    readers: dict[str, Read] = {}
    if importlib.util.find_spec("decord") is not None:
        readers["decord alone"] = read_with_decord
    if importlib.util.find_spec("pytorchvideo") is not None:
        _stub_pytorchvideo()
        readers["pytorchvideo, pyav"] = partial(read_with_pytorchvideo, decoder="pyav")
        if "decord alone" in readers:
            readers["pytorchvideo, decord"] = partial(read_with_pytorchvideo, decoder="decord")
    return readers


def read_with_decord(sample: Sample) -> np.ndarray:
    """decord.VideoReader at the target size, one thread: what SlowFast-like loaders and VideoMAE do."""
    decord = importlib.import_module("decord")
    width, height = sample.size
    reader = decord.VideoReader(sample.path, ctx=decord.cpu(0), num_threads=1, width=width, height=height)
    batch = reader.get_batch(sample.indices)
    return batch.asnumpy() if hasattr(batch, "asnumpy") else batch  # a tensor once pytorchvideo has set the bridge


def read_with_pytorchvideo(sample: Sample, *, decoder: str) -> object:
    """EncodedVideo.get_clip over the clip's seconds, UniformTemporalSubsample, ShortSideScale."""
    encoded_video = importlib.import_module("pytorchvideo.data.encoded_video")
    functional = importlib.import_module("pytorchvideo.transforms.functional")
    video = encoded_video.EncodedVideo.from_path(sample.path, decode_audio=False, decoder=decoder)
    start, end = sample.indices[0] / sample.fps, (sample.indices[-1] + 1) / sample.fps
    clip = video.get_clip(float(start), float(end))["video"]
    video.close()
    clip = functional.uniform_temporal_subsample(clip, len(sample.indices))
    return functional.short_side_scale(clip.float(), sample.short_side)


def _stub_pytorchvideo() -> None:
    """Make pytorchvideo's modules importable without its packages' own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = os.path.dirname(importlib.import_module("pytorchvideo").__file__)
    for name in _PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(root, name.partition(".")[2])]
        sys.modules.setdefault(name, package)
