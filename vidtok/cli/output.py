"""How results are written to stdout and progress to stderr. Nothing is coloured; bars only on a terminal."""

import csv
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from vidtok.errors import ConfigError
from vidtok.text import counted, printable, to_json

if TYPE_CHECKING:
    from vidtok.config import Budget
    from vidtok.models.backbones import VideoModel

Result = dict[str, Any]
Writer = Callable[[Iterable[Result], TextIO], None]

_BAR_WIDTH = 24


def write_table(results: Iterable[Result], out: TextIO) -> None:
    """For people: each video or window with its best classes."""
    for result in results:
        if result["error"]:
            out.write(f"{printable(result['error'])}\n")
            continue
        out.write(f"{printable(result['path'])}  {span_text(result)}\n")
        for row in result["top"]:
            bar = "#" * round(row["score"] * _BAR_WIDTH)
            out.write(f"  {100 * row['score']:5.1f} %  {bar:<{_BAR_WIDTH}}  {printable(row['label'])}\n")
        out.flush()


def write_json(results: Iterable[Result], out: TextIO) -> None:
    """One document, written as results arrive, and closed even when the work is interrupted."""
    end = ""
    try:
        end = "\n]}\n"  # an interruption comes after a call: nothing is closed that is not open
        out.write('{"schema": "vidtok.infer/1", "results": [')
        for number, result in enumerate(results):
            out.write(f"{',' if number else ''}\n  {to_json(result)}")
            out.flush()
    finally:
        out.write(end)


def write_jsonl(results: Iterable[Result], out: TextIO) -> None:
    """One line per result, readable while the command runs."""
    for result in results:
        out.write(to_json({"schema": "vidtok.infer/1", **result}) + "\n")
        out.flush()


def write_csv(results: Iterable[Result], out: TextIO) -> None:
    """One row, and one line, per class of each result; a failure is one row with the error."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "start_s", "end_s", "rank", "label", "score", "num_frames", "decoder", "error"))
    for result in results:
        span = printable(result["path"]), result["start_s"], result["end_s"]
        if result["error"]:
            writer.writerow((*span, "", "", "", "", "", printable(result["error"])))
        for rank, row in enumerate(result["top"], 1):
            label, facts = printable(row["label"]), (result["num_frames"], result["decoder"])
            writer.writerow((*span, rank, label, row["score"], *facts, ""))
        out.flush()


def write_vtt(results: Iterable[Result], out: TextIO) -> None:
    """WebVTT subtitles: one cue per result, so that a player shows the labels over the video."""
    out.write("WEBVTT\n")
    path = None
    for result in results:
        if result["error"]:
            out.write(f"\nNOTE {_cue_text(result['error'])}\n")
            continue
        if result["path"] != path:
            path = result["path"]
            out.write(f"\nNOTE {_cue_text(path)}\n")
        lines = "\n".join(f"{_cue_text(row['label'])} {100 * row['score']:.0f} %" for row in result["top"])
        out.write(f"\n{_clock(result['start_s'])} --> {_clock(result['end_s'])}\n{lines}\n")
        out.flush()


def _cue_text(text: str) -> str:
    """One line in which nothing is WebVTT markup."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float) -> str:
    """12.5 -> 00:00:12.500"""
    total = round(1000 * seconds)
    return f"{total // 3_600_000:02}:{total // 60_000 % 60:02}:{total // 1000 % 60:02}.{total % 1000:03}"


def span_text(result: Result) -> str:
    """``0.0-2.0 s of 300 frames at 30 fps``"""
    frames = f"{counted(result['num_frames'], 'frame')} at {result['fps']:g} fps"
    return f"{result['start_s']:.1f}-{result['end_s']:.1f} s of {frames}"


WRITERS: dict[str, Writer] = {
    "table": write_table,
    "json": write_json,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "vtt": write_vtt,
}


def find_writer(name: str) -> Writer:
    """The writer of ``--format name``. Raises ConfigError."""
    if name not in WRITERS:
        raise ConfigError(f"format '{name}' is unknown; choose one of {', '.join(WRITERS)}")
    return WRITERS[name]


def note(text: str) -> None:
    """One line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def finite(value: float | None) -> float | None:
    """Callback of options that take a number: ``nan`` and ``inf`` pass every range. Raises a usage error."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A counter on stderr when that is a terminal; the context's value is called with (done, all)."""
    shows = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if shows:
            sys.stderr.write(f"\r{done} of {total} {what}\033[K")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shows:
            sys.stderr.write("\r\033[K")


def load_model(source: str, compressor: str | None, budget: "Budget | None" = None) -> "VideoModel":
    """Load a checkpoint; with ``compressor`` say on stderr what became of its weights. Raises as ``vidtok.load``.

    ``budget`` is that of the new compressor; without one the model keeps the budget it has.
    """
    from vidtok.models.checkpoint import load

    model = load(source)
    if compressor is None:
        return model
    from vidtok.models.warmstart import compress_model

    model, report = compress_model(model, compressor, budget=budget)
    for line in report.table().split("\n"):
        note(line)
    return model
