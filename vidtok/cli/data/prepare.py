"""``vidtok data prepare``: a copy of a data set that decodes fast."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vidtok.cli.data.sweeping import FEW, cause_lines, check_missing, watched
from vidtok.outputs import check_writable
from vidtok.text import counted, to_json

Text = str | None


def prepare(
    source: Annotated[str, typer.Argument(help="list, or folder with videos of all depths", metavar="LIST|DIR")],
    out: Annotated[Path, typer.Argument(help="folder of the copy", metavar="OUT")],
    short_side: Annotated[
        int, typer.Option("--short-side", min=2, help="shorter side [pixels]; smaller videos keep their size")
    ] = 256,
    gop: Annotated[int, typer.Option(min=1, help="a key frame every so many frames")] = 12,
    crf: Annotated[int, typer.Option(min=0, max=51, help="constant quality of x264: 18 looks the same, 51 worst")] = 20,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; default: one per core")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="longest time for one video [s]")] = 900,
    memory: Annotated[float, typer.Option(min=0.1, help="most memory for one video, on Linux [GiB]")] = 4,
    max_failures: Annotated[
        float, typer.Option("--max-failures", min=0, max=1, help="share of videos that may fail")
    ] = 0.005,
    max_missing: Annotated[
        float, typer.Option("--max-missing", min=0, max=1, help="share of listed files that may be absent")
    ] = 0.05,
    root: Annotated[Text, typer.Option(help="folder that the paths of the list are relative to")] = None,
    classes: Annotated[Text, typer.Option(help="file with one class name a line, or kinetics400, ssv2, ucf101")] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="a clip has any number of labels")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")] = False,
) -> None:
    """Write videos anew as small H.264 mp4 with key frames close together, and a list of them with the same labels.

    Frames and their times stay, rotation is applied, sound is left out; originals are only read. Every new file is
    decoded and compared with its original. A second run goes on where the first one stopped.

    Exits with 3 when more videos failed or are missing than allowed.
    """
    from vidtok.data.prepare import SCHEMA, plan_prepare, prepare_videos, summarise
    from vidtok.data.quarantine import Quarantine
    from vidtok.data.sweep import Limits
    from vidtok.data.synthetic import num_cores
    from vidtok.data.transcode import Encoding

    encoding = Encoding(short_side=short_side, gop=gop, crf=crf)
    plan = plan_prepare(source, out, root=root, classes=classes, multi_label=multi_label)
    check_writable(out)
    with watched(len(plan.targets)) as watch:
        outcomes = prepare_videos(
            plan,
            encoding,
            workers=workers or num_cores(),
            limits=Limits(seconds=timeout, memory_bytes=int(memory * 2**30)),
            on_video=watch,
        )
    found = summarise(plan, outcomes)
    quarantine = Quarantine(
        out / "quarantine.csv",
        num_videos=len(plan.targets),
        max_failures=max_failures,
        key="--max-failures",
        fresh=True,
    )
    for failure in found["failed"]:
        quarantine.note(failure["path"], failure["cause"], "prepare")
    new_list = None if plan.list_name is None else str(out / plan.list_name)
    head = {"schema": SCHEMA, "out": str(out), "list": new_list, "allowed_failures": quarantine.allowed}
    print(to_json(head | found, indent=2) if as_json else _table(found, out, new_list))
    quarantine.check()
    check_missing(found["missing"], found["videos"]["listed"], max_missing)


def _table(found: dict[str, Any], out: Path, new_list: str | None) -> str:
    videos, size = found["videos"], found["bytes"]
    lines = [
        f"{counted(videos['listed'], 'video')} ({videos['resumed']} prepared by an earlier run), "
        f"{size['before'] / 1e6:.1f} MB -> {size['after'] / 1e6:.1f} MB",
        f"  {videos['prepared']:>6}  prepared",
        f"  {videos['damaged']:>6}  of them damaged, with the frames that can be decoded",
        f"  {videos['failed']:>6}  failed",
        f"  {videos['missing']:>6}  missing",
        *cause_lines("failed:", found["failed"]),
    ]
    if found["damaged"]:
        lines += ["damaged:", *(f"  {path}" for path in found["damaged"][:FEW])]
        lines += [f"  and {len(found['damaged']) - FEW} more"] * (len(found["damaged"]) > FEW)
    return "\n".join([*lines, f"use it: data.train={new_list}" if new_list else f"the copy is in {out}"])
