"""``vidtok data``: make, check and inspect data sets. One file per subcommand."""

from collections.abc import Callable

import typer

from vidtok.cli.data import synthetic

app = typer.Typer(help="Make, check and inspect data sets.", no_args_is_help=True)

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("synthetic", synthetic.synthetic),)
"""Every subcommand by name."""

for name, command in COMMANDS:
    app.command(name)(command)


@app.callback()
def _group() -> None:
    """Make, check and inspect data sets."""
