"""A folder of numbered images as a video: raw frames as SlowFast, TSM and mmaction2 extract them."""

import os
import re
import warnings
from collections import defaultdict
from types import TracebackType
from typing import Self

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, UnidentifiedImageError

from vidtok.data.decode.convert import Converter
from vidtok.data.decode.info import DEADLINE_SECONDS, Deadline, Orientation, PixelFormat, VideoInfo, unique_numbers
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.errors import DecodeError

FRAME_RATE = 30.0
"""Frames per second that a folder is taken to have, as it does not say: that of the usual extraction."""

_NUMBERED_IMAGE = re.compile(r"(|[^.].*?)(\d+)(\.(?:jpg|jpeg|png|bmp|webp))", re.IGNORECASE)
_FLOW_PREFIXES = ("flow_", "x_", "y_")

_IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""Pillow would otherwise go by content, and hand what calls itself a picture to Ghostscript."""

_REFUSALS = (OSError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises on damaged images: SyntaxError for a broken PNG, the last for a size beyond reason."""


class FolderReader:
    """Reads frames of a folder of images. Implements :class:`vidtok.data.decode.Reader`.

    Images are ``PREFIX NUMBER SUFFIX`` (``img_00001.jpg``, ``000001.png``), counting from any number; images of
    optical flow (``flow_x_00001.jpg``, ``x_00001.jpg``) and other files in the folder are left out.

    Args:
        path: the folder.
        deadline_seconds: longest time that each read may take.
        limits: what the images may cost.

    Raises:
        DecodeError: no images, two series of them, a number is missing, or the first image cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        limits: DecodeLimits = DEFAULT_LIMITS,
    ) -> None:
        self.name = "images"
        self.fallback: str | None = None
        self._deadline_seconds = deadline_seconds
        self._limits = limits
        path = os.fspath(path)
        self._files = image_files(path)
        with _open_image(path, self._files[0]) as first:
            limits.check_picture(path, *first.size, what=self._files[0])
            width, height, codec = *first.size, (first.format or "").lower()
        num_frames = len(self._files)
        self.info = VideoInfo(
            path=path,
            num_frames=num_frames,
            pts_seconds=np.arange(num_frames) / FRAME_RATE,
            fps=FRAME_RATE,
            width=width,
            height=height,
            rotation=0,
            codec=codec,
        )

    def read(
        self,
        indices: np.ndarray,
        *,
        short_side: int | None = None,
        verify: bool = False,
        pixel_format: PixelFormat = "rgb",
    ) -> np.ndarray:
        """Read frames; see :meth:`vidtok.data.decode.Reader.read`. ``verify`` reads all images."""
        wanted, places = unique_numbers(indices, self.info)
        frames = self._limits.empty_frames(
            self.info, len(wanted), short_side=short_side, pixel_format=pixel_format, asked=len(places)
        )
        due = dict(zip(wanted.tolist(), frames, strict=True))
        deadline = Deadline(self.info.path, self._deadline_seconds)
        converter = Converter(Orientation(), deadline.check)
        for number in range(self.info.num_frames) if verify else due:
            deadline.check()
            picture = self._picture(number)
            if number in due:
                converter.store(VideoFrame.from_ndarray(picture, format="rgb24"), due[number], pixel_format)
        converter.flush()
        return frames[places]

    def close(self) -> None:
        """Nothing is held between reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _picture(self, number: int) -> np.ndarray:
        """One image, uint8 [H, W, 3], RGB. Raises DecodeError."""
        path, file = self.info.path, self._files[number]
        with _open_image(path, file) as image:
            if image.size != (self.info.width, self.info.height):
                raise DecodeError(
                    f"{path}: {file} is {image.width}x{image.height}, {self._files[0]} is {self.info.width}x"
                    f"{self.info.height}; extract the frames again in one size"
                )
            try:
                return np.array(image.convert("RGB"))
            except _REFUSALS as error:
                raise _unreadable(path, file, error) from None


def image_files(folder: str) -> list[str]:
    """Names of the numbered images of a folder, in order.

    Raises:
        DecodeError: no such folder, no images, several series of images, or numbers are missing.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DecodeError(f"{folder}: cannot be opened ({error.strerror}); check the path") from None
    series: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for match in filter(None, map(_NUMBERED_IMAGE.fullmatch, names)):
        if not match[1].startswith(_FLOW_PREFIXES):
            series[match[1], match[3]].append((int(match[2]), match[0]))
    if not series:
        raise DecodeError(f"{folder}: is a folder without numbered images; give a video file or a folder of frames")
    if len(series) > 1:
        kinds = ", ".join(f"{prefix}*{suffix}" for prefix, suffix in sorted(series))
        raise DecodeError(f"{folder}: holds several series of images ({kinds}); leave one")
    [files] = series.values()
    _check_numbers(folder, sorted(files))
    return [name for _, name in sorted(files)]


def _check_numbers(folder: str, files: list[tuple[int, str]]) -> None:
    """Raise DecodeError unless every number from the first to the last is there once."""
    numbers = [number for number, _ in files]
    absent = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    between = f"between {files[0][1]} and {files[-1][1]}"
    if absent:
        raise DecodeError(
            f"{folder}: {len(absent)} image{'s' if len(absent) > 1 else ''} missing {between}, the first is number "
            f"{absent[0]}; extract the frames again"
        )
    if len(set(numbers)) < len(numbers):
        raise DecodeError(f"{folder}: two images have the same number {between}; leave one of each")


def _open_image(folder: str, file: str) -> Image.Image:
    """Read an image's header; its size is the caller's to judge. Raises DecodeError."""
    path = os.path.join(folder, file)
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise DecodeError(f"{folder}: {file} is not a regular file; extract the frames again or leave the clip out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=_IMAGE_FORMATS)
    except _REFUSALS as error:
        raise _unreadable(folder, file, error) from None


def _unreadable(folder: str, file: str, error: Exception) -> DecodeError:
    cause = "no image" if isinstance(error, UnidentifiedImageError) else getattr(error, "strerror", None) or str(error)
    return DecodeError(f"{folder}: {file} cannot be read ({cause}); extract the frames again or leave the clip out")
