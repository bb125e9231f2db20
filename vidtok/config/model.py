"""The model: a backbone, a compressor and where its weights come from."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from vidtok.config.backbones import BackboneConfig, ViViTFEConfig, parse_backbone
from vidtok.config.base import PathField, Section, inside_validation
from vidtok.config.compressors import CompressorConfig, NoneConfig, parse_compressor


class ModelConfig(Section):
    backbone: Annotated[BackboneConfig, BeforeValidator(inside_validation(parse_backbone))] = Field(
        ViViTFEConfig(), description="name (vivit_fe_b_16x2) or mapping with kind"
    )
    compressor: Annotated[CompressorConfig, BeforeValidator(parse_compressor)] = Field(
        NoneConfig(), description="name (lookup) or mapping with kind"
    )
    num_classes: int | None = Field(
        None, ge=1, le=1_000_000, description="number of classes; empty: counted from the data"
    )
    pretrained: PathField | None = Field(
        None, description="checkpoint to start from, ours or public: a file, a folder or hf://org/name"
    )
