"""``vidtok data show``: the frames, times and crops that a recipe would see of a video, as one picture."""

from pathlib import Path
from typing import Annotated

import typer

from vidtok.errors import ConfigError
from vidtok.outputs import check_writable_file

_SPLITS = ("train", "test")


def show(
    clip: Annotated[str, typer.Argument(help="video, or a list, of which --index is shown", metavar="CLIP")],
    config: Annotated[str, typer.Option("--config", "-c", help="recipe: a path or a packaged name")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="overrides such as clip.stride=4", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="train: several draws; test: all views")] = "train",
    epoch: Annotated[int, typer.Option(min=0, help="first epoch to show of the training clip")] = 0,
    draws: Annotated[int, typer.Option(min=1, max=16, help="epochs to show, each another draw")] = 3,
    index: Annotated[int, typer.Option(min=0, help="place of the video in the training list, from 0")] = 0,
    out: Annotated[Path, typer.Option(help="picture to write (.png)")] = Path("clip.png"),
) -> None:
    """Draw every frame that a recipe takes from a video, with number, time and crop box, beside what comes out.

    Prints the path of the picture.
    """
    if split not in _SPLITS:
        raise ConfigError(f"--split '{split}' is unknown; choose one of {', '.join(_SPLITS)}")
    check_writable_file(out)
    from vidtok.configio import load_recipe

    recipe = load_recipe(config, overrides or [])
    from vidtok.data.inputs import expand_inputs
    from vidtok.data.preview import train_look, view_looks
    from vidtok.engine.visualize import SHEET_DPI, looks_sheet, save

    items = list(expand_inputs([clip], root=recipe.data.root))
    if len(items) > 1 and index >= len(items):
        raise ConfigError(f"--index {index}: '{clip}' has {len(items)} videos, counted from 0")
    item = items[index] if len(items) > 1 else items[0]
    if split == "train":
        looks = [
            train_look(item.path, recipe, epoch=epoch + draw, index=index, segment=item.segment)
            for draw in range(draws)
        ]
        title = f"training clips of recipe {recipe.name}, seed {recipe.run.seed}, video {index} of the list"
    else:
        looks = view_looks(item.path, recipe, segment=item.segment)
        title = f"{recipe.eval.clips}x{recipe.eval.crops} test views of recipe {recipe.name}"
    save(looks_sheet(looks, title), out, dpi=SHEET_DPI)
    print(out)
