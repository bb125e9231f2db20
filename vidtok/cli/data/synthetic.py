"""``vidtok data synthetic``: write the motion set."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidtok.outputs import check_writable
from vidtok.text import counted


def synthetic(
    out: Annotated[Path, typer.Argument(help="folder to write to", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="number of clips in all: 80 % train, 10 % val, 10 % test")] = 6000,
    seed: Annotated[int, typer.Option(help="seed; the same seed writes the same set")] = 0,
    size: Annotated[int, typer.Option(help="side of the picture [pixels]")] = 64,
    frames: Annotated[int, typer.Option(help="frames per clip")] = 24,
    difficulty: Annotated[str, typer.Option(help="easy, normal or hard")] = "normal",
) -> None:
    """Write the synthetic motion set as H.264 mp4 files with lists and class names.

    Classes differ in motion alone and come in mirrored pairs: one frame says almost nothing, and unordered
    frames cannot tell the two classes of a pair apart.
    """
    from vidtok.data.synthetic import write_motion_set

    check_writable(out)

    def progress(done: int, total: int) -> None:
        if done == total or done % max(total // 10, 1) == 0:
            print(f"{done}/{counted(total, 'clip')}", file=sys.stderr)

    print(
        write_motion_set(out, clips=clips, seed=seed, size=size, frames=frames, difficulty=difficulty, on_clip=progress)
    )
