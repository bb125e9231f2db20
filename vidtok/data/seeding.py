"""Random streams that depend on what they are for and on nothing else."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of random numbers decides; streams of different purposes are unrelated."""

    ORDER = 1
    """order of the videos of an epoch, by (seed, epoch)"""
    SAMPLE = 2
    """frames and augmentation of one training clip, by (seed, epoch, index)"""
    VIEW_SHUFFLE = 3
    """frame order of test clips in the control for order, by (seed, index)"""
    MIX = 4
    """how a training batch is mixed, by (seed, step, batch of the epoch, rank)"""


def keyed_rng(purpose: Purpose, *key: int) -> np.random.Generator:
    """A generator that is a function of its purpose and key (numbers of at least 0)."""
    return np.random.default_rng(np.random.SeedSequence((int(purpose), *key)))
