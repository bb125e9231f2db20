"""``vidtok data index``: facts of every video of a list."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from vidtok.cli.data.sweeping import cause_lines, watched
from vidtok.errors import DataError
from vidtok.outputs import check_writable
from vidtok.text import counted, to_json


def index(
    source: Annotated[str, typer.Argument(help="list or folder of class folders", metavar="LIST")],
    out: Annotated[
        Path | None, typer.Argument(help="index, .csv or .jsonl; default: LIST's name with .index.csv", metavar="OUT")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; default: one per core")] = None,
    root: Annotated[str | None, typer.Option(help="folder that the paths of the list are relative to")] = None,
    classes: Annotated[
        str | None, typer.Option(help="file with one class name a line, or kinetics400, ssv2, ucf101")
    ] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="clips have any number of labels")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="longest time for one video [s]")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")] = False,
) -> None:
    """Write size, duration, rate, frames, codec, key frames and a fingerprint of every video of a list.

    The index is a list itself. A second run reads only videos whose size or modification time changed; a file
    beside the index remembers the others.

    Exits with 3 when none can be read.
    """
    from vidtok.data.fileindex import SCHEMA, default_index, index_videos
    from vidtok.data.manifest import read_listing
    from vidtok.data.sweep import Limits
    from vidtok.data.synthetic import num_cores

    out = out or default_index(source)
    check_writable(out.parent)
    listing = read_listing(source, root=root, classes=classes, multi_label=multi_label, key="LIST")
    with watched(len({row.path for row in listing.rows})) as watch:
        outcomes = index_videos(
            listing, out, workers=workers or num_cores(), limits=Limits(seconds=timeout), on_video=watch
        )
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    found = {
        "schema": SCHEMA,
        "index": str(out),
        "videos": {
            "listed": len(listing.rows),
            "indexed": len(records),
            "reused": sum(not outcome.is_new for outcome in outcomes),
            "unreadable": len(outcomes) - len(records),
        },
        "bytes": sum(record["bytes"] for record in records),
        "hours": round(sum(record["duration_s"] for record in records) / 3600, 4),
        "codecs": dict(Counter(record["codec"] for record in records).most_common()),
        "fps": dict(Counter(f"{record['fps']:g}" for record in records).most_common()),
        "copies": len(records) - len({record["fingerprint"] for record in records}),
        "unreadable": [{"path": one.path, "cause": one.cause} for one in outcomes if one.record is None],
    }
    print(to_json(found, indent=2) if as_json else _table(found))
    if not records:
        raise DataError(f"none of the {counted(len(outcomes), 'video')} of '{source}' can be read; {outcomes[0].cause}")


def _table(found: dict[str, Any]) -> str:
    videos = found["videos"]
    rates = [f"{count} at {rate}" for rate, count in list(found["fps"].items())[:4]]
    return "\n".join(
        [
            f"{counted(videos['listed'], 'video')} ({videos['reused']} known from an earlier run)",
            f"  {videos['indexed']:>6}  indexed: {found['hours']:.2f} hours, {found['bytes'] / 1e9:.2f} GB",
            f"  {found['copies']:>6}  of them copies of another one",
            f"  {videos['unreadable']:>6}  unreadable or missing",
            "codecs: " + ", ".join(f"{count} {codec}" for codec, count in found["codecs"].items()),
            "frames per second: " + ", ".join(rates) + (" and others" if len(found["fps"]) > len(rates) else ""),
            *cause_lines("unreadable:", found["unreadable"]),
            f"index: {found['index']}",
        ]
    )
