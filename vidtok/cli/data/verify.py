"""``vidtok data verify``: find unreadable videos before training does."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vidtok.cli.data.sweeping import FEW, cause_lines, check_missing, watched
from vidtok.outputs import check_writable_file
from vidtok.text import counted, to_json


def verify(
    sources: Annotated[list[str], typer.Argument(help="lists, folders, patterns, videos", metavar="LIST|DIR|FILE...")],
    full: Annotated[
        bool,
        typer.Option("--full/--quick", help="decode every frame, or only from the first, middle and last key frame"),
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; default: one per core")] = None,
    decoder: Annotated[str, typer.Option(help="engine that will be used: auto, pyav, decord ...")] = "auto",
    timeout: Annotated[float, typer.Option(min=1, help="longest time for one video [s]")] = 300,
    memory: Annotated[float, typer.Option(min=0.1, help="most memory for one video, on Linux [GiB]")] = 4,
    max_failures: Annotated[
        float, typer.Option("--max-failures", min=0, max=1, help="share of videos that may be unreadable")
    ] = 0.005,
    max_missing: Annotated[
        float, typer.Option("--max-missing", min=0, max=1, help="share of listed files that may be absent")
    ] = 0.05,
    root: Annotated[str | None, typer.Option(help="folder that the paths of lists are relative to")] = None,
    out: Annotated[Path, typer.Option(help="table of unreadable videos and causes")] = Path("quarantine.csv"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")] = False,
) -> None:
    """Decode videos in parallel and say which cannot be read, and why.

    A second run goes on where the first one stopped: readable videos that did not change are not decoded again
    (a file beside --out remembers them). A video that hangs or crashes its decoder stops no other.

    Exits with 3 when more videos are unreadable or missing than allowed.
    """
    from vidtok.config import DataConfig, from_tree
    from vidtok.data.inputs import find_items
    from vidtok.data.manifest.repeats import same_content, segments_outside
    from vidtok.data.quarantine import Quarantine
    from vidtok.data.sweep import Limits
    from vidtok.data.synthetic import num_cores
    from vidtok.data.verify import SCHEMA, summarise, verify_videos

    from_tree(DataConfig, {"decoder": decoder})
    check_writable_file(out)
    items, missing = find_items(sources, root=root)
    paths = list(dict.fromkeys(item.path for item in items))
    with watched(len(paths)) as watch:
        outcomes = verify_videos(
            paths,
            decoder=decoder,
            quick=not full,
            workers=workers or num_cores(),
            limits=Limits(seconds=timeout, memory_bytes=int(memory * 2**30)),
            state=out.with_suffix(".state.jsonl"),
            on_video=watch,
        )
    outside = segments_outside(items, {one.path: one.record for one in outcomes if one.record is not None})
    found = summarise(outcomes, missing) | {"outside": outside, "copies": same_content(paths)}
    quarantine = Quarantine(out, num_videos=len(paths), max_failures=max_failures, key="--max-failures", fresh=True)
    for failure in found["unreadable"] + outside:
        quarantine.note(failure["path"], failure["cause"], "verify")
    mode = "full" if full else "quick"
    head = {"schema": SCHEMA, "mode": mode, "decoder": decoder, "allowed_failures": quarantine.allowed}
    print(to_json(head | found, indent=2) if as_json else _table(found, mode, out))
    quarantine.check()
    check_missing(missing, found["videos"]["listed"], max_missing)


def _further(found: dict[str, Any]) -> list[str]:
    """Lines on parts of videos that are not there, and on copies, where there are any."""
    outside, copies = found["outside"], found["copies"]
    lines = (
        [f"  {len(outside):>6}  parts that their video does not hold, such as {outside[0]['path']}"] if outside else []
    )
    if copies:
        count = sum(map(len, copies)) - len(copies)
        lines.append(f"  {count:>6}  copies of another one, such as {copies[0][1]} of {copies[0][0]}")
    return lines


def _table(found: dict[str, Any], mode: str, out: Path) -> str:
    videos = found["videos"]
    lines = [
        f"{counted(videos['listed'], 'video')}, {mode} check ({videos['resumed']} known from an earlier run)",
        f"  {videos['readable']:>6}  readable",
        f"  {videos['damaged']:>6}  of them damaged, with the frames that can be decoded",
        f"  {videos['fallback']:>6}  of them read in a slower way",
        f"  {videos['unreadable']:>6}  unreadable",
        f"  {videos['missing']:>6}  missing",
        *_further(found),
        *cause_lines("unreadable:", found["unreadable"]),
        *cause_lines("read in a slower way:", found["fallback"]),
    ]
    if found["damaged"]:
        lines.append("damaged:")
        lines += [
            f"  {row['path']}: {row['frames']} of {counted(row['promised'], 'frame')}" for row in found["damaged"][:FEW]
        ]
        lines += [f"  and {len(found['damaged']) - FEW} more"] * (len(found["damaged"]) > FEW)
    if found["unreadable"]:
        lines.append(f"all unreadable videos and causes are in {out}")
    return "\n".join(lines)
