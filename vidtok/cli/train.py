"""``vidtok train``."""

from typing import Annotated

import typer

from vidtok.cli.output import note

Overrides = Annotated[list[str] | None, typer.Argument(help="overrides such as train.lr=3e-4", show_default=False)]


def train(
    config: Annotated[str, typer.Option("--config", "-c", help="recipe: a path or a packaged name")],
    overrides: Overrides = None,
    resume: Annotated[
        str | None,
        typer.Option(help="'auto': go on with the recipe's newest run, or start it; or a checkpoint or run folder"),
    ] = None,
    resume_anyway: Annotated[
        bool, typer.Option("--resume-anyway", help="go on although model, lists, batch or optimiser have changed")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check recipe, data and model, then stop")] = False,
) -> None:
    """Train or fine-tune. Prints the run folder on stdout; progress goes to stderr."""
    from vidtok.configio import load_recipe

    recipe = load_recipe(config, overrides or [])
    from vidtok.engine.fit import fit
    from vidtok.engine.ranks import Ranks

    folder = fit(recipe, resume=resume, resume_anyway=resume_anyway, dry_run=dry_run)
    if not Ranks(devices=recipe.run.devices, nodes=recipe.run.nodes).is_first:
        return
    if dry_run:
        note("dry run: nothing was written")
    else:
        print(folder)
