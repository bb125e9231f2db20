"""Compressors of space-time tokens."""

from vidtok.compress.lookup import plan_lookup
from vidtok.compress.plan import Plan, plan_none
from vidtok.config import LookupConfig, NoneConfig

PLANS: dict[type, Plan] = {NoneConfig: plan_none, LookupConfig: plan_lookup}
"""The whole registry of compressors, by config class."""
