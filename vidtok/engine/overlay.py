"""The video again, with the labels drawn into it."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidtok.data.decode import FrameListChanged, Reader, open_video
from vidtok.errors import ConfigError
from vidtok.outputs import writing
from vidtok.text import printable

_SHORT_SIDE = 480
_CHUNK = 96
_LINES = 3
_ENCODER = {"preset": "veryfast", "crf": "20"}


def write_overlay(results: Sequence[dict[str, Any]], out: str | Path, *, decoder: str = "auto") -> None:
    """Write the video of ``results`` as H.264, each moment with the best classes of its last window.

    Pictures are scaled down to a short side of 480 pixels; a chunk of frames is in memory at a time. The
    frame rate is constant, the mean of the original's. There is no sound.

    Args:
        results: what ``infer`` says of one video: whole, or window by window.
        out: file to write, .mp4 or .mkv.

    Raises:
        EnvironmentFault: the file cannot be written.
        DecodeError: the video cannot be read.
    """
    out = Path(out)
    if out.suffix.lower() not in (".mp4", ".mkv"):
        raise ConfigError(f"overlay '{out}' must end with .mp4 or .mkv")
    answers = [result for result in results if not result["error"]]
    with open_video(answers[0]["path"], decoder=decoder) as reader, writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        encode(out, _labelled_frames(reader, answers), fps=reader.info.fps)


def encode(out: Path, frames: Iterator[np.ndarray], *, fps: float) -> None:
    """Write frames uint8 [H, W, 3] with even sides."""
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_ENCODER)
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _labelled_frames(reader: Reader, answers: Sequence[dict[str, Any]]) -> Iterator[np.ndarray]:
    """All frames in order, as uint8 [H, W, 3] with even sides, with their labels."""
    strips: dict[int, np.ndarray] = {}
    starts = np.array([answer["start_s"] for answer in answers])
    for number, frame in enumerate(_frames(reader)):
        latest = int(np.searchsorted(starts, reader.info.pts_seconds[number], side="right")) - 1
        if latest not in strips:
            strips = {latest: _label_strip(answers[latest], *frame.shape[:2])}
        yield _even(_draw(frame, strips[latest]))


def _frames(reader: Reader) -> Iterator[np.ndarray]:
    """Decode in chunks. A damaged file's list of frames may change once: then the chunk is read again."""
    number = 0
    while number < reader.info.num_frames:
        info = reader.info
        wanted = np.arange(number, min(number + _CHUNK, info.num_frames))
        try:
            yield from reader.read(wanted, short_side=min(_SHORT_SIDE, info.width, info.height))
        except FrameListChanged:
            continue
        number = int(wanted[-1]) + 1


def _even(frame: np.ndarray) -> np.ndarray:
    """H.264 in yuv420p needs even sides: repeat the last row or column of an odd one."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _label_strip(answer: dict[str, Any], height: int, width: int) -> np.ndarray:
    """White text on nothing: float32 [h, width] in [0, 1], one line per class, in at most half of the picture."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(width // 30, 11)
    num_lines = min(max(int((0.5 * height / size - 0.7) / 1.5), 1), _LINES)
    lines = [f"{100 * row['score']:.0f} %  {printable(row['label'])}" for row in answer["top"][:num_lines]]
    picture = Image.new("L", (width, round(size * (1.5 * len(lines) + 0.7))))
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        ImageDraw.Draw(picture).text((size, round(size * (0.5 + 1.5 * number))), line, fill=255, font=font)
    return np.asarray(picture, dtype=np.float32) / 255


def _draw(frame: np.ndarray, strip: np.ndarray) -> np.ndarray:
    """Darken the lower edge and write on it; a strip that is higher than the picture loses its top."""
    height = min(len(strip), len(frame))
    text = strip[-height:, :, None]
    below = frame[-height:] * (0.45 * (1 - text)) + 255 * text
    return np.concatenate([frame[:-height], below.astype(np.uint8)])
