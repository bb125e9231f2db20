"""``vidtok data split``: divide a list into training, validation and test lists."""

from pathlib import Path
from typing import Annotated

import typer

from vidtok.outputs import check_writable
from vidtok.text import counted


def split(
    source: Annotated[str, typer.Argument(help="list or folder of class folders", metavar="LIST")],
    out: Annotated[Path, typer.Argument(help="folder for train.csv, val.csv, test.csv and classes.txt", metavar="OUT")],
    val: Annotated[float, typer.Option(min=0, max=1, help="share of the videos for validation")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="share of the videos for test")] = 0.1,
    group: Annotated[
        str | None,
        typer.Option(
            help="what must stay together: folder, column (`group` of the list), or a regular expression searched in "
            "the path, such as 'g[0-9]+' for UCF101"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="another seed divides otherwise")] = 0,
    root: Annotated[str | None, typer.Option(help="folder that the paths of the list are relative to")] = None,
    classes: Annotated[
        str | None, typer.Option(help="file with one class name a line, or kinetics400, ssv2, ucf101")
    ] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="clips have any number of labels")] = False,
) -> None:
    """Divide a list so that every class has its share in each split, and no group is in two splits.

    Clips that were cut from one video, or filmed in one scene, must be one group: else the test measures memory.
    """
    from vidtok.cli.output import note
    from vidtok.data.manifest import read_listing
    from vidtok.data.split import group_of, write_split

    check_writable(out)
    if group is None:
        note("every video is taken for itself; if several come from one source, keep them together with --group")
    listing = read_listing(source, root=root, classes=classes, multi_label=multi_label, key="LIST")
    parts = write_split(listing, out, val=val, test=test, group=group, seed=seed)
    labels = {label for part in parts.values() for entry in part for label in entry.labels or ()}
    for name, part in parts.items():
        absent = labels - {label for entry in part for label in entry.labels or ()}
        groups = {group_of(entry, group) for entry in part}
        print(f"{name:>6}  {len(part):>7} videos  {len(groups):>7} groups  {len(labels) - len(absent)} classes")
        if absent:
            note(f"{name} has no video of {len(absent)} of {counted(len(labels), 'class')}, such as '{min(absent)}'")
    print(f"lists: {out}")
