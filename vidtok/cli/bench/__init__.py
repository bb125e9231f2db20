"""``vidtok bench``: measure speed on this machine. One file per subcommand."""

from collections.abc import Callable

import typer

from vidtok.cli.bench import data, model

app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (("model", model.model), ("data", data.data))
"""Every subcommand by name."""

for name, command in COMMANDS:
    app.command(name)(command)


@app.callback()
def _group() -> None:
    """Measure speed on this machine."""
