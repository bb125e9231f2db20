"""The ``vidtok`` command. Importing it imports no torch: each verb does its heavy imports when it runs."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

import vidtok
from vidtok.cli import bench, config, convert, data, doctor, evaluate, infer, models, train
from vidtok.cli.streams import let_go_of_stdout, mend_streams, whole_output
from vidtok.errors import ConfigError, EnvironmentFault, VidtokError
from vidtok.outputs import refusal
from vidtok.text import printable

Verb = Callable[..., None] | typer.Typer

VERBS: tuple[tuple[str, Verb], ...] = (
    ("train", train.train),
    ("eval", evaluate.evaluate),
    ("infer", infer.infer),
    ("data", data.app),
    ("bench", bench.app),
    ("models", models.models),
    ("convert", convert.convert),
    ("config", config.app),
    ("doctor", doctor.doctor),
)
"""Every command by name: a function, or an application with commands of its own."""

app = typer.Typer(
    help="Video recognition with transformers that look at few tokens.",
    epilog="Exit codes: 0 ok, 1 unexpected, 2 usage or config, 3 data, 4 weights, 5 environment, 6 diverged, "
    "7 check failed, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout is not None and sys.stdout.isatty() else None,
)
for name, verb in VERBS:
    if isinstance(verb, typer.Typer):
        app.add_typer(verb, name=name)
    else:
        app.command(name)(verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vidtok {vidtok.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Video recognition with transformers that look at few tokens."""


SPIN_COUNT = "1000"
"""How often a thread of OpenMP looks whether there is work before it sleeps."""


def share_the_cores() -> None:
    """Let threads that wait for one another sleep soon, so that another process may have the core.

    By default they spin for milliseconds at the end of every parallel loop. Where a second process wants the cores, the
    thread that they wait for then gets none, and a small model trains at a sixteenth of its speed. libgomp reads this
    when torch is imported; what the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def main() -> None:
    """Run the command line. A user's mistake becomes one line on stderr and its exit code; the rest a traceback.

    So does a disk that is full or a file that may not be used.
    """
    share_the_cores()
    mend_streams()
    try:
        with whole_output():
            _refuse_names_with_dashes(sys.argv[1:])
            app()
    except VidtokError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if (line := refusal(error)) is None:
            raise
        print(f"error: {printable(line)}", file=sys.stderr)
        let_go_of_stdout()
        sys.exit(EnvironmentFault.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _refuse_names_with_dashes(arguments: Sequence[str]) -> None:
    """Say what to do with ``-3B32lodo2M.mp4``, which would be read as options. Raises ConfigError."""
    for argument in arguments:
        if argument == "--":
            return
        is_name = re.fullmatch(r"-[^-].*\.(?!ya?ml$)[A-Za-z]\w{1,4}", argument) or os.path.isfile(argument)
        if argument.startswith("-") and is_name:
            raise ConfigError(f"'{argument}' begins with '-': write ./{argument}, or -- before the names of files")
