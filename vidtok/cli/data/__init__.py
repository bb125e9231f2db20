"""``vidtok data``: make, check and inspect data sets. One file per subcommand."""

from collections.abc import Callable

import typer

from vidtok.cli.data import diff, index, prepare, show, split, synthetic, verify

app = typer.Typer(help="Make, check and inspect data sets.", no_args_is_help=True)

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("synthetic", synthetic.synthetic),
    ("index", index.index),
    ("diff", diff.diff),
    ("split", split.split),
    ("show", show.show),
    ("verify", verify.verify),
    ("prepare", prepare.prepare),
)
"""Every subcommand by name."""

for name, command in COMMANDS:
    app.command(name)(command)


@app.callback()
def _group() -> None:
    """Make, check and inspect data sets."""
