"""``vidtok data``: make and look at data sets."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Data sets: synthetic.", no_args_is_help=True)
