"""Work for the tests of sweeping: functions that another process can import."""

import os
import signal
import time
from functools import cache
from typing import Any

from vidtok.errors import DataError


def measure(path: str) -> dict[str, Any]:
    """The size of a file; names that begin with a fault have that fault."""
    fault = os.path.basename(path).partition("_")[0]
    if fault == "hang":
        time.sleep(60)
    elif fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "greedy":
        bytearray(2**32)
    elif fault == "bug":
        os._exit(3)
    elif fault == "refused":
        raise DataError(f"{path}: is of no use")
    return {"bytes": os.path.getsize(path)}


def measure_and_count(path: str) -> dict[str, Any]:
    """As :func:`measure`, and one more byte in ``<path>.times`` each time."""
    with open(f"{path}.times", "a") as stream:
        stream.write("x")
    return measure(path)


def label(path: str) -> dict[str, Any]:
    """What ``vidtok infer`` says of a video with a tiny model: its frames, or DataError with the cause."""
    import torch

    from vidtok.engine.infer import InferOptions, infer_videos
    from vidtok.engine.predict import Compute

    compute = Compute(torch.device("cpu"), "fp32")
    [result] = infer_videos(_model(), [path], InferOptions(clips=1, crops=1), compute=compute)
    if result["error"]:
        raise DataError(result["error"])
    return {"frames": result["num_frames"], "scores": [row["score"] for row in result["top"]]}


@cache
def _model() -> Any:
    from tests.engine.cases import named_model

    return named_model()
