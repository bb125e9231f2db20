"""Reads the strings by which timm and VideoMAE name a RandAugment policy: ``rand-m7-n4-mstd0.5-inc1``."""

import re
from dataclasses import dataclass, fields
from typing import Any

_KEYS = {
    "m": "magnitude",
    "n": "num_ops",
    "mstd": "magnitude_std",
    "mmax": "magnitude_max",
    "p": "probability",
    "inc": "increasing",
    "geo": "geometric",
}


@dataclass(frozen=True, slots=True)
class RandAugment:
    """One policy; magnitudes lie on a scale from 0 to 10."""

    magnitude: float = 10.0
    num_ops: int = 2
    """Operations drawn per clip, each of which happens with ``probability``."""
    magnitude_std: float = 0.0
    """Deviation of the normal noise on the magnitude of each operation."""
    magnitude_max: float = 10.0
    probability: float = 0.5
    increasing: bool = False
    """Every operation gets stronger with the magnitude. The other set is not built."""
    geometric: bool = True
    """False leaves out rotation, shear and translation, as scenic does. An extension of the string: ``geo0``."""


def parse_randaugment(text: str) -> RandAugment:
    """Read a policy. Raises ValueError that says what is wrong."""
    head, *parts = text.split("-")
    if head != "rand":
        raise ValueError(f"'{text}' does not start with rand-; write it like rand-m7-n4-mstd0.5-inc1")
    values: dict[str, Any] = {}
    kinds = {field.name: field.type for field in fields(RandAugment)}
    for part in parts:
        match = re.fullmatch(r"([a-z]+)(\d*\.?\d+)", part)
        if match is None or match[1] not in _KEYS:
            raise ValueError(f"'{part}' in '{text}' is not one of {', '.join(_KEYS)} with a number behind it")
        name = _KEYS[match[1]]
        number = float(match[2])
        if kinds[name] is not float and number != int(number):
            raise ValueError(f"'{part}' in '{text}' must be a whole number")
        values[name] = kinds[name](number)
    policy = RandAugment(**values)
    if not policy.increasing:
        raise ValueError(f"'{text}' lacks inc1; only the operations that get stronger with the magnitude are built")
    if policy.magnitude > policy.magnitude_max or policy.probability > 1:
        raise ValueError(f"'{text}': m must be at most {policy.magnitude_max:g} (mmax) and p at most 1")
    return policy
