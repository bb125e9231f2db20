"""Compressors of space-time tokens."""

from vidtok.compress.evit import plan_evit
from vidtok.compress.lookup import plan_lookup
from vidtok.compress.merge import plan_merge
from vidtok.compress.plan import Plan, plan_none
from vidtok.compress.random_drop import plan_random
from vidtok.compress.semantic import plan_semantic
from vidtok.compress.supertoken import plan_supertoken
from vidtok.config import (
    EViTConfig,
    LookupConfig,
    MergeConfig,
    NoneConfig,
    RandomConfig,
    SemanticConfig,
    SuperTokenConfig,
)

PLANS: dict[type, Plan] = {
    NoneConfig: plan_none,
    LookupConfig: plan_lookup,
    SemanticConfig: plan_semantic,
    EViTConfig: plan_evit,
    SuperTokenConfig: plan_supertoken,
    MergeConfig: plan_merge,
    RandomConfig: plan_random,
}
"""The whole registry of compressors, by config class."""
