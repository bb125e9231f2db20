"""The whole configuration surface: frozen sections with defaults, units and ranges. Imports no torch.

Every field carries a description; ``vidtok config show`` and ``explain`` print it. Unknown keys are refused. A
backbone or a compressor is one class in its file plus one line in that file's union.
"""

from vidtok.config.backbones import (
    SIZES,
    BackboneConfig,
    BackboneUnion,
    Layout,
    TimeSformerConfig,
    VideoMAEConfig,
    ViTConfig,
    ViViTConfig,
    ViViTFDPConfig,
    ViViTFEConfig,
    ViViTFSAConfig,
    parse_backbone,
)
from vidtok.config.base import (
    Budget,
    BudgetField,
    Section,
    format_budget,
    from_tree,
    parse_budget,
)
from vidtok.config.compressors import (
    CompressorConfig,
    CompressorUnion,
    EViTConfig,
    LookupConfig,
    MergeConfig,
    NoneConfig,
    RandomConfig,
    SemanticConfig,
    SuperTokenConfig,
    parse_compressor,
)
from vidtok.config.data import AugmentConfig, ClipConfig, DataConfig, Swap
from vidtok.config.explain import brief, explain
from vidtok.config.model import ModelConfig
from vidtok.config.names import spelling
from vidtok.config.recipe import EvalConfig, LoggerConfig, Recipe, RunConfig, TrainConfig

__all__ = [
    "SIZES",
    "AugmentConfig",
    "BackboneConfig",
    "BackboneUnion",
    "Budget",
    "BudgetField",
    "ClipConfig",
    "CompressorConfig",
    "CompressorUnion",
    "DataConfig",
    "EViTConfig",
    "EvalConfig",
    "Layout",
    "LoggerConfig",
    "LookupConfig",
    "MergeConfig",
    "ModelConfig",
    "NoneConfig",
    "RandomConfig",
    "Recipe",
    "RunConfig",
    "Section",
    "SemanticConfig",
    "SuperTokenConfig",
    "Swap",
    "TimeSformerConfig",
    "TrainConfig",
    "ViTConfig",
    "ViViTConfig",
    "ViViTFDPConfig",
    "ViViTFEConfig",
    "ViViTFSAConfig",
    "VideoMAEConfig",
    "brief",
    "explain",
    "format_budget",
    "from_tree",
    "parse_backbone",
    "parse_budget",
    "parse_compressor",
    "spelling",
]
