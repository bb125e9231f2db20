"""``vidtok infer``: label videos."""

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtok.cli.output import find_writer, load_model, note
from vidtok.cli.streams import terminable
from vidtok.errors import ConfigError, DataError
from vidtok.outputs import check_writable_file
from vidtok.text import brief, counted

if TYPE_CHECKING:
    from vidtok.data.manifest import Item
    from vidtok.engine.infer import InferOptions
    from vidtok.engine.windows import Window
    from vidtok.models.backbones import VideoModel

Text = str | None
Result = dict[str, Any]

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0}
_SHORTEST, _LONGEST = 0.001, 1e6
"""Lengths of windows [seconds]."""
_ENDINGS = {"--contact-sheet": (".png",), "--tokens": (".png", ".mp4"), "--overlay": (".mp4", ".mkv")}


def infer(
    inputs: Annotated[
        list[str], typer.Argument(help="videos, folders, patterns, lists, or - for paths on standard input")
    ],
    checkpoint: Annotated[
        Text,
        typer.Option(help="file, folder or hf://org/name; default: $VIDTOK_CHECKPOINT, else a Kinetics-400 model"),
    ] = None,
    topk: Annotated[int, typer.Option(min=1, help="classes to print per result")] = 5,
    views: Annotated[
        Text, typer.Option(help="clips x crops, such as 4x3; default: the checkpoint's, at most 4x1")
    ] = None,
    compressor: Annotated[Text, typer.Option(help="compressor to give a dense checkpoint, such as evit")] = None,
    budget: Annotated[Text, typer.Option(help="token budget, such as 3x3; default: the checkpoint's own")] = None,
    window: Annotated[Text, typer.Option(help="label a long video piece by piece: length, such as 2s")] = None,
    stride: Annotated[Text, typer.Option(help="time from one window to the next, such as 1s; default: window")] = None,
    form: Annotated[str, typer.Option("--format", help="table, json, jsonl, csv or vtt")] = "table",
    contact_sheet: Annotated[
        Text, typer.Option(help="write a picture (.png) of the frames that the model sees and its answer")
    ] = None,
    tokens: Annotated[
        Text, typer.Option(help="draw what was kept, merged and dropped: .png by layers, .mp4 the last layer")
    ] = None,
    overlay: Annotated[Text, typer.Option(help="write the video with the labels drawn on it (.mp4)")] = None,
    decoder: Annotated[str, typer.Option(help="auto, pyav, pyav-isolated, decord or torchcodec")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16; auto as in eval")] = "auto",
) -> None:
    """Label videos. Results go to stdout; a video that cannot be read is a result with an error.

    Exits with 3 when no video could be labelled. Interrupted, the document on stdout is closed and whole.
    """
    write = find_writer(form)
    span = _parse_window(window, stride)
    _check_endings({"--contact-sheet": contact_sheet, "--tokens": tokens, "--overlay": overlay})
    from vidtok.config import DataConfig, from_tree, parse_budget
    from vidtok.data.addresses import check_file_name
    from vidtok.engine.infer import InferOptions, default_checkpoint, expand_inputs, infer_videos
    from vidtok.engine.predict import at_budget, choose_compute, parse_views

    chosen_budget = parse_budget(budget)
    from_tree(DataConfig, {"decoder": decoder})
    if views:
        parse_views(views)
    compute = choose_compute(device, precision)
    for text in inputs:
        check_file_name(text)
    paths = expand_inputs(inputs)
    one_video = bool(contact_sheet or tokens or overlay)
    if "-" not in inputs or one_video:
        paths = _checked(list(paths), single=one_video)
    model = load_model(checkpoint or default_checkpoint(), compressor, chosen_budget).to(compute.device)
    options = InferOptions.for_model(model, views=views, topk=topk, decoder=decoder, window=span)
    tally = _Tally()
    with at_budget(model, chosen_budget), terminable():
        write(tally.watch(infer_videos(model, paths, options, compute=compute)), sys.stdout)
        tally.finish()
        if contact_sheet or tokens:
            (item,) = paths
            _draw(model, item, tally.results, options, contact_sheet=contact_sheet, tokens=tokens)
    if overlay:
        from vidtok.engine.overlay import write_overlay

        write_overlay(tally.results, overlay, decoder=decoder)


def _parse_window(window: Text, stride: Text) -> "Window | None":
    if window is None:
        if stride is not None:
            raise ConfigError("--stride needs --window: how long is a piece?")
        return None
    seconds = _parse_seconds("--window", window)
    from vidtok.engine.windows import Window

    return Window(seconds=seconds, stride_seconds=_parse_seconds("--stride", stride) if stride else seconds)


def _parse_seconds(option: str, text: str) -> float:
    """``2s``, ``500ms``, ``1.5`` or ``1min`` in seconds. Raises ConfigError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|)", text.strip().lower())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigError(f"{option} '{brief(text)}' is not a length of time like 2s, 500ms or 1.5; at least 1ms")
    return seconds


def _check_endings(outputs: dict[str, Text]) -> None:
    """A picture that cannot be written must not be found out after the work. Raises ConfigError, EnvironmentFault."""
    for option, file in outputs.items():
        if file and not file.lower().endswith(_ENDINGS[option]):
            raise ConfigError(f"{option} '{file}' must end with {' or '.join(_ENDINGS[option])}")
        if file:
            check_writable_file(file)


def _checked(paths: "list[Item]", *, single: bool) -> "list[Item]":
    if single and len(paths) != 1:
        raise ConfigError(f"--contact-sheet, --tokens and --overlay take one video, these are {len(paths)}")
    return paths


class _Tally:
    """Counts results on their way to stdout; keeps those of the first video for its pictures."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.labelled, self.errors = 0, 0
        self.first_error = ""

    def watch(self, results: Iterator[Result]) -> Iterator[Result]:
        for result in results:
            if result["error"]:
                self.first_error = self.first_error or result["error"]
                self.errors += 1
            else:
                self.labelled += 1
            if not self.results or self.results[0]["path"] == result["path"]:
                self.results.append(result)
            yield result

    def finish(self) -> None:
        """Say how many failed. Raises DataError when all did, or when there was nothing."""
        if not self.labelled and not self.errors:
            raise DataError("no videos were given on standard input; write one path a line")
        if not self.labelled:
            several = (
                f"none of {counted(self.errors, 'video')} could be labelled; the first: " if self.errors > 1 else ""
            )
            raise DataError(several + self.first_error)
        if self.errors:
            note(f"{self.errors} of the videos could not be labelled; their results hold the cause")


def _draw(
    model: "VideoModel",
    item: "Item",
    results: list[Result],
    options: "InferOptions",
    *,
    contact_sheet: Text,
    tokens: Text,
) -> None:
    """The frames of the first answer again, which are the same because test views are not random.

    They are read twice: as the model sees them, and in more pixels for the eye.
    """
    from vidtok.data.dataset import load_views
    from vidtok.engine.token_picture import SHARP, write_tokens
    from vidtok.engine.visualize import save_contact_sheet

    number = next(number for number, result in enumerate(results) if not result["error"])
    result, clip = results[number], model.preprocessing
    span = (result["start_s"], result["end_s"]) if options.window else None
    place = f"window {number + 1} of {len(results)}, {span[0]:.1f}-{span[1]:.1f} s" if span else ""
    factor = -(-SHARP // clip.size)
    eye = clip.model_copy(update={"size": clip.size * factor, "short_side": clip.test_short_side * factor})
    video, sharp = (
        load_views(
            result["path"],
            seen,
            num_clips=options.clips,
            num_crops=options.crops,
            decoder=options.decoder,
            segment=item.segment,
            window_seconds=span,
        )
        for seen in (clip, eye)
    )
    if contact_sheet:
        save_contact_sheet(sharp, result, contact_sheet, num_crops=options.crops, place=place, seen=clip.size)
    if tokens:
        write_tokens(model, video, tokens, num_crops=options.crops, place=place, sharp=sharp)
