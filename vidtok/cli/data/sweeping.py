"""What the commands that go over many videos have in common: progress, being interrupted, lists of causes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vidtok.cli.output import progress
from vidtok.errors import DataError, Interrupted
from vidtok.text import counted

if TYPE_CHECKING:
    from vidtok.data.sweep import Outcome

FEW = 10
"""Videos, and groups of causes, that a table shows of each kind."""


@contextmanager
def watched(total: int) -> Iterator[Callable[["Outcome"], None]]:
    """Count outcomes on stderr; Ctrl-C becomes an Interrupted that says how far it got."""
    done = 0
    try:
        with progress("videos") as show:

            def watch(outcome: "Outcome") -> None:
                nonlocal done
                done += 1
                show(done, total)

            yield watch
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {done} of {counted(total, 'video')}; give the same command again to go on from there"
        ) from None


def cause_lines(title: str, failures: Sequence[dict[str, Any]]) -> list[str]:
    """``title`` and a line for each kind of cause, most frequent first, with one of the videos; [] without failures."""
    from vidtok.data.verify import group_causes

    groups = group_causes(failures)
    lines = [f"  {count:>6}  {cause}  ({path})" for cause, count, path in groups[:FEW]]
    rest = [f"  and {len(groups) - FEW} more kinds"] if len(groups) > FEW else []
    return [title, *lines, *rest] if lines else []


def check_missing(missing: Sequence[str], num_listed: int, max_missing: float) -> None:
    """Raise DataError when more listed files are absent than may be."""
    if len(missing) > max_missing * num_listed:
        raise DataError(
            f"{len(missing)} of {num_listed} listed videos are missing, for example '{missing[0]}'; "
            f"--max-missing={max_missing:g}: find them, give --root or raise it"
        )
