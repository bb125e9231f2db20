"""What readers take from a folder's ``config.json`` and ``preprocessor_config.json``, checked by type and size."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from vidtok.config import Section, from_tree
from vidtok.errors import ConfigError, WeightsError
from vidtok.models.pretrained.source import Files

Side = Annotated[int, Field(ge=1, le=4096)]
Colour = tuple[float, float, float]


class _Known(Section):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=False)


class TimmSettings(_Known):
    mean: Colour | None = None
    std: Colour | None = None
    crop_pct: float | None = Field(None, gt=0, le=2)


class TimmArguments(_Known):
    num_heads: int | None = Field(None, ge=1, le=256)


class HubSettings(TimmSettings):
    """``config.json`` of transformers and timm; what is not named here is not read."""

    model_type: str | None = None
    hidden_act: str | None = None
    layer_norm_eps: float | None = Field(None, gt=0, le=1)
    num_frames: int | None = Field(None, ge=1, le=1024)
    num_attention_heads: int | None = Field(None, ge=1, le=256)
    image_size: Side | list[Side] | None = None
    attention_type: str | None = None
    use_mean_pooling: bool | None = None
    id2label: dict[int, str | int | float] | None = None
    global_pool: str | None = None
    model_args: TimmArguments | None = None
    pretrained_cfg: TimmSettings | None = None


class ProcessorSettings(_Known):
    """``preprocessor_config.json`` of transformers."""

    image_mean: Colour | None = None
    image_std: Colour | None = None
    rescale_factor: float | None = None
    do_rescale: bool | None = None
    do_normalize: bool | None = None
    offset: bool | None = None


def check_settings(files: Files) -> None:
    """Raises WeightsError when a setting that readers use is of another type, or beyond any model."""
    parts: tuple[tuple[str, type[Section], dict[str, Any]], ...] = (
        ("config.json", HubSettings, files.config),
        ("preprocessor_config.json", ProcessorSettings, files.processor),
    )
    for name, schema, content in parts:
        try:
            from_tree(schema, content)
        except ConfigError as error:
            raise WeightsError(f"{files.where}: its {name} does not describe a model: {error}") from None
