"""``vidtok data diff``: what changed between two lists."""

from typing import TYPE_CHECKING, Annotated

import typer

from vidtok.cli.data.sweeping import FEW
from vidtok.text import counted, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidtok.data.listdiff import ListDiff


def diff(
    a: Annotated[str, typer.Argument(help="list, folder of class folders or index: before", metavar="A")],
    b: Annotated[str, typer.Argument(help="the same: after", metavar="B")],
    root: Annotated[str | None, typer.Option(help="folder that the paths of both lists are relative to")] = None,
    classes: Annotated[
        str | None, typer.Option(help="class names of both: a file, or kinetics400, ssv2, ucf101")
    ] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="clips have any number of labels")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document, with all paths")] = False,
) -> None:
    """Say which videos were added, removed, renamed or relabelled, and which have another content.

    Contents are compared by the fingerprints of `vidtok data index LIST`, where both lists have an index.
    """
    from vidtok.cli.output import note
    from vidtok.data.listdiff import compare_lists, find_fingerprints
    from vidtok.data.manifest import read_listing

    listings, known = [], []
    for source in (a, b):
        listings.append(read_listing(source, root=root, classes=classes, multi_label=multi_label, key="list"))
        known.append(find_fingerprints(source, root=root))
        if not known[-1]:
            note(f"{source} has no index, so contents are not compared; make one with: vidtok data index {source}")
    found = compare_lists(*listings, known_a=known[0], known_b=known[1])
    print(to_json(found.to_json(), indent=2) if as_json else _table(found))


def _table(found: "ListDiff") -> str:
    renamed = [f"{before} -> {after}" for before, after in found.renamed]
    relabelled = [f"{path}: {before} -> {after}" for path, before, after in found.relabelled]
    return "\n".join(
        [
            f"{counted(found.common, 'video')} in both, the content of {found.compared} compared",
            *_section("added", found.added),
            *_section("removed", found.removed),
            *_section("renamed", renamed),
            *_section("relabelled", relabelled),
            *_section("content changed", found.changed),
        ]
    )


def _section(title: str, rows: "Sequence[str]") -> list[str]:
    more = [f"      and {len(rows) - FEW} more; --json lists all"] if len(rows) > FEW else []
    return [f"{len(rows):>6}  {title}", *(f"      {row}" for row in rows[:FEW]), *more]
