"""``vidtok bench data``: what reading clips costs, by engine and by stage."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidtok.cli.output import finite, note
from vidtok.errors import DataError
from vidtok.outputs import check_writable_file, writing
from vidtok.text import counted, to_json

if TYPE_CHECKING:
    from vidtok.data.bench import Report
    from vidtok.data.bench.report import Group


def data(
    sources: Annotated[
        list[str] | None, typer.Argument(help="videos, folders or lists; none: generated clips", metavar="[SOURCE]...")
    ] = None,
    root: Annotated[str | None, typer.Option(help="folder that paths of lists are relative to")] = None,
    frames: Annotated[int, typer.Option(min=1, max=1024, help="frames per clip")] = 16,
    stride: Annotated[int, typer.Option(min=1, max=1000, help="frames between neighbours of a clip")] = 4,
    short_side: Annotated[int, typer.Option(min=1, max=4320, help="short side of the frames read [pixels]")] = 224,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="timed rounds in which all readers take turns")] = 5,
    files: Annotated[int, typer.Option(min=1, max=100_000, help="read at most so many files, drawn at random")] = 20,
    gpu_clips_per_s: Annotated[
        float | None,
        typer.Option(min=0.001, callback=finite, help="training speed of one GPU; tells how many of them can be fed"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--json", help="also write the figures to this file")] = None,
) -> None:
    """Time every decoder, other libraries and the decode-only limit in one run, and say which decoder to use.

    Processor time of one core, so that other work on the machine hardly matters; medians of interleaved rounds.
    """
    from vidtok.data.bench import BenchOptions, bench_data, document, recommend
    from vidtok.data.inputs import find_videos

    if out is not None:
        check_writable_file(out)
    options = BenchOptions(frames, stride, short_side, rounds, files)
    paths, missing = find_videos(sources or (), root=root)
    if sources and not paths:
        raise DataError(f"none of the {len(missing)} listed videos exists, for example '{missing[0]}'; give --root")
    report = bench_data(paths, options, note=note)
    print(
        f"{counted(frames, 'frame')}, stride {stride}, short side {short_side}, one core of {report.machine['cpu']}, "
        f"processor time, median of {rounds} rounds"
    )
    for group in report.groups:
        _print_group(group)
    print(f"\n{recommend(report)}")
    print(f"whole training samples: {report.samples_per_s:.1f} a second and core")
    if gpu_clips_per_s is not None:
        _print_gpus(report, gpu_clips_per_s)
    if out is not None:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            text = to_json(document(report, gpu_clips_per_s=gpu_clips_per_s), indent=2)
            out.write_text(text + "\n", encoding="utf-8")


def _print_group(group: "Group") -> None:
    left_out = f"; {counted(group.left_out, 'file')} left out: unreadable, or decodable from their start only"
    print(f"\n{group.name}: {counted(group.clips, 'clip')}{left_out if group.left_out else ''}")
    print(f"  {'reader':22}{'ms/clip':>9}{'clips/s':>9}{'spread':>8}{'auto is':>9}{'of limit':>10}")
    for row in group.rows:
        print(
            f"  {row.reader:22}{row.ms_per_clip:9.2f}{row.clips_per_s:9.1f}{row.spread:8.1%}{row.times_auto:8.2f}x"
            f"{group.share_of_limit(row.reader):10.2f}{_handed_over(row.fallbacks)}"
        )
    print("  a sample, ms: " + ", ".join(f"{stage} {ms:.2f}" for stage, ms in group.stages_ms.items()))
    print("  test views, ms: " + ", ".join(f"{views} {ms:.1f}" for views, ms in group.views_ms.items()))


def _handed_over(causes: tuple[str, ...]) -> str:
    return f"   {len(causes)} read by PyAV: {', '.join(sorted(set(causes)))}" if causes else ""


def _print_gpus(report: "Report", clips_per_s: float) -> None:
    fed, cores = report.gpus_fed(clips_per_s), report.machine["cores"]
    print(
        f"all {cores} cores feed {fed:.2f} GPUs of {clips_per_s:g} clips/s; one such GPU wants "
        f"{clips_per_s / report.samples_per_s:.0f} cores"
    )
