"""Clips, lists and training-time changes."""

from typing import Literal

from pydantic import Field, model_validator

from vidtok.config.base import Section


class ClipConfig(Section):
    """What a model sees of a video. Stored with the weights and used unchanged by eval and infer."""

    frames: int = Field(32, ge=1, description="frames per clip")
    stride: int = Field(2, ge=1, description="frames between neighbours of a clip (dense sampling)")
    sampling: Literal["dense", "uniform"] = Field("dense", description="dense: stride apart; uniform: over the video")
    size: int = Field(224, ge=1, description="side of the square crop [pixels]")
    short_side: int | None = Field(None, ge=1, description="short side before the test crop [pixels]; empty: size")
    mean: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB mean to subtract, of values in [0, 1]")
    std: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB divisor, of values in [0, 1]")

    @property
    def test_short_side(self) -> int:
        return self.short_side or self.size

    @model_validator(mode="after")
    def _crop_fits(self) -> "ClipConfig":
        if self.test_short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is smaller than the crop size {self.size}")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be positive")
        return self


class DataConfig(Section):
    root: str | None = Field(None, description="folder that list paths are relative to; empty: found beside the list")
    train: str | None = Field(None, description="training list (path label lines) or folder of class folders")
    val: str | None = Field(None, description="validation list or folder")
    test: str | None = Field(None, description="test list or folder; empty: the validation one")
    classes: str | None = Field(None, description="text file, one class name a line; line number = label")
    decoder: Literal["auto", "pyav", "decord"] = Field("auto", description="engine; auto is PyAV, exact and fastest")
    decode_short_side: int | None = Field(
        256, ge=1, description="short side at decode for training [pixels]; empty: as stored"
    )
    workers: int = Field(4, ge=0, description="loader processes per device")
    cache: Literal["none", "memory"] = Field("none", description="memory: decode every training clip once, keep it")
    max_missing: float = Field(0.05, ge=0, le=1, description="share of listed files that may be absent")
    max_failures: float = Field(0.005, ge=0, le=1, description="share of listed files that may be unreadable")


Swap = tuple[str | int, str | int]


class AugmentConfig(Section):
    """Training-time changes, one policy per clip. Swaps keep labels right where a change alters the class."""

    crop_scale: tuple[float, float] = Field((0.08, 1.0), description="area share of the random resized crop")
    crop_ratio: tuple[float, float] = Field((0.75, 1.3333), description="aspect ratio range of that crop")
    hflip: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    hflip_swaps: tuple[Swap, ...] = Field((), description="label pairs that a left-right flip exchanges")
    vflip: float = Field(0.0, ge=0, le=1, description="probability of an upside-down flip")
    vflip_swaps: tuple[Swap, ...] = Field((), description="label pairs that an upside-down flip exchanges")
    reverse: float = Field(0.0, ge=0, le=1, description="probability of playing the clip backwards")
    reverse_swaps: tuple[Swap, ...] = Field((), description="label pairs that playing backwards exchanges")
    shuffle: bool = Field(False, description="shuffle the frames of every clip, test too: a control for order")
