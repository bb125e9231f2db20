"""Errors that a user can cause. The command line prints one line and exits with ``exit_code``.

A message says what was wrong, the value, what is allowed and what to do next. Anything that only a
programmer can cause is an ``assert`` and keeps its traceback.
"""

import difflib
from collections.abc import Sequence

_LONGEST, _MOST = 200, 10_000
"""Characters of a name, and number of names, that are compared."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """End of a sentence that proposes the nearest known name; empty when none is near, or looking would take long."""
    if len(name) > _LONGEST or len(known) > _MOST:
        return ""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


class VidtokError(Exception):
    """Base of all errors with a one-line message for the user."""

    exit_code = 1


class ConfigError(VidtokError):
    """Wrong usage, recipe, override or refused pair of backbone and compressor."""

    exit_code = 2


class GridError(ConfigError):
    """A module cannot work on the arrangement of tokens that it would receive."""


class DataError(VidtokError):
    """Lists, labels or videos that cannot be used."""

    exit_code = 3


class DecodeError(DataError):
    """One video that cannot be read; ``str(error)`` starts with its path."""


class WeightsError(VidtokError):
    """A checkpoint or weight file that cannot be used."""

    exit_code = 4


class EnvironmentFault(VidtokError):
    """A missing package, device or decoder."""

    exit_code = 5


class DivergedError(VidtokError):
    """Training met a loss that is not finite."""

    exit_code = 6


class CheckFailed(VidtokError):
    """A stated threshold was not reached."""

    exit_code = 7


class Interrupted(VidtokError):
    """Ctrl-C or SIGTERM, after a resumable checkpoint was written."""

    exit_code = 130
