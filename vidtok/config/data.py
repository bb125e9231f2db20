"""Clips, lists and training-time changes."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from vidtok.config.base import PathField, Section
from vidtok.config.randaugment import parse_randaugment

Sampling = Literal[
    "dense",
    "uniform",
    "tsn",
    "slowfast",
    "slowfast_offset",
    "timesformer",
    "scenic",
    "mmaction",
    "videomae",
    "videomae_ssv2",
    "umt",
]
MAX_CLIP_PIXELS = 2**26
"""Pixels of all frames of a clip: 64 frames of 1024 x 1024."""

_SLOWFAST_LIKE = ("slowfast", "slowfast_offset", "timesformer")
_TAKES_FPS = ("dense", *_SLOWFAST_LIKE)
_TAKES_SHORT = ("dense", *_SLOWFAST_LIKE, "mmaction")


class ClipConfig(Section):
    """What a model sees of a video. Stored with the weights and used unchanged by eval and infer."""

    frames: int = Field(32, ge=1, le=1024, description="frames per clip")
    stride: int = Field(2, ge=1, le=10_000, description="frames between neighbours of a clip (dense sampling)")
    sampling: Sampling = Field("dense", description="convention by which frames are chosen (docs/clips.md)")
    fps: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="frames per second that stride counts at; empty: the video's own (slowfast: 30)",
    )
    short: Literal["auto", "hold", "loop", "stretch"] = Field(
        "auto", description="videos shorter than a clip: hold the last frame, loop, stretch; auto: as sampling does"
    )
    size: int = Field(224, ge=1, le=4096, description="side of the square crop [pixels]")
    short_side: int | None = Field(
        None, ge=1, le=4096, description="short side before the test crop [pixels]; empty: size"
    )
    mean: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB mean to subtract, of values in [0, 1]")
    std: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB divisor, of values in [0, 1]")

    @property
    def test_short_side(self) -> int:
        return self.short_side or self.size

    @property
    def uses_times(self) -> bool:
        """True when the choice of frames depends on when they are shown."""
        return self.fps is not None or self.sampling in _SLOWFAST_LIKE

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "ClipConfig":
        if self.fps is not None and self.sampling not in _TAKES_FPS:
            raise ValueError(f"fps {self.fps:g} has no effect with sampling {self.sampling}; leave it empty")
        if self.short != "auto" and self.sampling not in _TAKES_SHORT:
            raise ValueError(f"short {self.short} has no effect with sampling {self.sampling}; leave it auto")
        return self

    @model_validator(mode="after")
    def _crop_fits(self) -> "ClipConfig":
        if self.test_short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is smaller than the crop size {self.size}")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be positive")
        return self

    @model_validator(mode="after")
    def _clip_fits_into_memory(self) -> "ClipConfig":
        side = self.test_short_side
        pixels = self.frames * side**2
        if pixels > MAX_CLIP_PIXELS:
            raise ValueError(
                f"a clip of {self.frames} frames of {side}x{side} has {pixels / 1e6:.0f} "
                f"million pixels, at most {MAX_CLIP_PIXELS / 1e6:.0f} are allowed; give fewer frames or smaller ones"
            )
        return self


class DataConfig(Section):
    root: PathField | None = Field(
        None, description="folder that list paths are relative to; empty: found beside the list"
    )
    train: PathField | None = Field(None, description="training list (docs/data.md) or folder of class folders")
    val: PathField | None = Field(None, description="validation list or folder")
    test: PathField | None = Field(None, description="test list or folder; empty: the validation one")
    classes: PathField | None = Field(
        None,
        description="file with one class name a line, line number = label; or jester, kinetics400, ssv2, ucf101",
    )
    multi_label: bool = Field(False, description="clips have any number of labels: binary cross-entropy, mAP")
    label: Literal["verb", "noun"] | None = Field(
        None, description="which label is the class, where a list has both (EPIC-KITCHENS-100)"
    )
    decoder: Literal["auto", "pyav", "pyav-isolated", "decord", "torchcodec"] = Field(
        "auto",
        description="engine; auto is PyAV, exact and fastest; pyav-isolated: PyAV in a process that may crash or hang",
    )
    decode_short_side: int | None = Field(
        256, ge=1, description="short side at decode for training [pixels]; empty: as stored"
    )
    pixel_format: Literal["rgb", "yuv420"] = Field(
        "rgb",
        description="of training clips: yuv420 moves half the bytes, converts on the device; no colour changes",
    )
    max_clip_mb: int = Field(
        1024, ge=1, description="decoded frames that one reading of a video may take [MiB]; it is refused beyond"
    )
    max_pixels: int = Field(8192 * 8192, ge=1, description="width x height of a stored picture, refused beyond")
    workers: int = Field(4, ge=0, description="loader processes per device")
    cache: Literal["none", "memory"] = Field("none", description="memory: decode every training clip once, keep it")
    max_missing: float = Field(0.05, ge=0, le=1, description="share of listed files that may be absent")
    max_failures: float = Field(0.005, ge=0, le=1, description="share of listed files that may be unreadable")


Swap = tuple[str | int, str | int]


class AugmentConfig(Section):
    """Training-time changes, one policy per clip. Swaps keep labels right where a change alters the class."""

    crop_scale: tuple[float, float] = Field((0.08, 1.0), description="area share of the random resized crop")
    crop_ratio: tuple[float, float] = Field((0.75, 1.3333), description="aspect ratio range of that crop")
    jitter_scales: tuple[float, float] | None = Field(
        None, description="short side range [pixels] out of which clip.size is cut; empty: random resized crop"
    )
    jitter_stretch: bool = Field(False, description="draw height and width of jitter_scales apart, as scenic")
    hflip: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    hflip_swaps: tuple[Swap, ...] | Literal["left_right"] = Field(
        (), description="label pairs that a left-right flip exchanges; left_right: found by these words in class names"
    )
    vflip: float = Field(0.0, ge=0, le=1, description="probability of an upside-down flip")
    vflip_swaps: tuple[Swap, ...] = Field((), description="label pairs that an upside-down flip exchanges")
    reverse: float = Field(0.0, ge=0, le=1, description="probability of playing the clip backwards")
    reverse_swaps: tuple[Swap, ...] = Field((), description="label pairs that playing backwards exchanges")
    reverse_twins: bool = Field(
        False, description="of train.repeated_aug's clips every second is the one before it, played the other way"
    )
    color_jitter: float = Field(0.0, ge=0, le=1, description="probability of changing colours by up to color_strength")
    color_strength: tuple[float, float, float, float] = Field(
        (0.125, 0.4, 0.4, 0.2), description="largest change of brightness, contrast, saturation, hue (1: full turn)"
    )
    grayscale: float = Field(0.0, ge=0, le=1, description="probability of dropping the colours")
    randaugment: str | None = Field(None, description="policy as timm writes it: rand-m7-n4-mstd0.5-inc1; empty: none")
    erase: float = Field(0.0, ge=0, le=1, description="probability of putting noise in a box of all frames")
    mixup: float = Field(0.0, ge=0, description="alpha of mixup; 0: off")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix; 0: off")
    mix_prob: float = Field(1.0, ge=0, le=1, description="probability that a batch is mixed")
    mix_switch_prob: float = Field(0.5, ge=0, le=1, description="probability of CutMix where both are on")
    shuffle: bool = Field(False, description="shuffle the frames of every clip, test too: a control for order")

    @field_validator("hflip_swaps", mode="before")
    @classmethod
    def _is_known_rule(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "left_right":
            raise ValueError("must be left_right, or pairs of class names or indices like [[86, 87]]")
        return value

    @field_validator("crop_scale", "crop_ratio", "jitter_scales")
    @classmethod
    def _is_range(cls, value: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("must be two numbers above 0, the smaller one first")
        if value is not None and info.field_name == "crop_scale" and value[1] > 1:
            raise ValueError("is a share of the area and must be at most 1")
        return value

    @field_validator("color_strength")
    @classmethod
    def _is_strength(cls, value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        if not (min(value) >= 0 and max(value) <= 1 and value[3] <= 0.5):
            raise ValueError("must be numbers from 0 to 1, the last one (hue) at most 0.5")
        return value

    @field_validator("randaugment")
    @classmethod
    def _is_policy(cls, value: str | None) -> str | None:
        if value is not None:
            parse_randaugment(value)
        return value
