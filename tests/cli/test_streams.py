"""The command line in odd surroundings: closed and narrow streams, readers that leave, signals, odd names."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.run import exit_code
from tests.data.videos import write_counter
from tests.engine.cases import named_model
from vidtok.cli.output import find_writer
from vidtok.cli.streams import READER_LEFT
from vidtok.models.checkpoint import save_pretrained

ODD = b"od\xff.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``checkpoint/``, ``clip.mp4``, ``-3B32.mp4`` and a name that is not UTF-8."""
    folder = tmp_path_factory.mktemp("work")
    save_pretrained(named_model(), folder / "checkpoint")
    write_counter(folder / "clip.mp4", frames=12)
    for name in (os.fsdecode(ODD), "-3B32.mp4"):
        (folder / name).write_bytes((folder / "clip.mp4").read_bytes())
    return folder


def start(folder: Path, shell: str) -> "subprocess.Popen[bytes]":
    """Run a shell line in ``folder`` where ``$VIDTOK`` is the command."""
    env = os.environ | {
        "VIDTOK": f"{sys.executable} -W error -m vidtok",
        "VIDTOK_CHECKPOINT": "checkpoint",
        "OMP_NUM_THREADS": "1",
    }
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(["bash", "-c", shell], cwd=folder, env=env, bufsize=0, **pipes)


def run(folder: Path, shell: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    with start(folder, shell) as process:
        out, err = process.communicate(stdin)
    return process.returncode, out, err.decode(errors="replace")


def test_one_odd_line_on_stdin_is_one_failed_result_and_odd_names_are_found(folder: Path) -> None:
    lines = b"clip.mp4\na\0b.mp4\n" + ODD + b"\n"
    code, out, err = run(folder, "PYTHONIOENCODING=ascii:strict $VIDTOK infer - --format json", lines)
    assert code == 0, err
    good, nul, odd = json.loads(out)["results"]
    assert good["error"] is None and "NUL" in nul["error"]
    assert odd["error"] is None and os.fsencode(odd["path"]) == ODD  # the name comes back whole


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(folder: Path) -> None:
    code, out, err = run(folder, "set -o pipefail; yes clip.mp4 | head -50 | $VIDTOK infer - --format jsonl | head -1")
    assert (code, err) == (READER_LEFT, "")
    assert json.loads(out)["path"] == "clip.mp4"


def test_closed_streams_are_no_tracebacks(folder: Path) -> None:
    code, out, err = run(folder, "$VIDTOK infer - <&- >&-")
    assert code == 3 and out == b""
    assert err == "error: no videos were given on standard input; write one path a line\n"
    code, out, err = run(folder, "$VIDTOK config list <&- >&- 2>&-")
    assert (code, out, err) == (0, b"", "")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_document_that_is_interrupted_is_closed(number: signal.Signals, folder: Path) -> None:
    # without -W error: an interrupt may come between the opening of a file and its ``with``, which Python warns of
    with start(folder, "exec ${VIDTOK/-W error/} infer - --format json") as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"clip.mp4\n" * 400)
        first = b""
        while b'"path"' not in first:
            first += process.stdout.read(200)
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 130 and err.decode() == ""
    results = json.loads(first + out)["results"]
    assert len(results) < 400 and all(result["error"] is None for result in results)


def test_a_name_that_begins_with_a_dash_is_refused_with_the_two_ways_to_write_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = "error: '{0}' begins with '-': write ./{0}, or -- before the names of files\n"
    for name in ("-3B32.mp4", "-absent.webm"):
        assert exit_code(folder, monkeypatch, "infer", name, "--checkpoint", "checkpoint") == 2
        assert capsys.readouterr().err == wanted.format(name)
    assert exit_code(folder, monkeypatch, "infer", "--checkpoint", "checkpoint", "--", "-3B32.mp4") == 0
    assert exit_code(folder, monkeypatch, "config", "show", "-cdemo.yaml") == 0  # an option with its value


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:8554/cam", "http://host/a.mp4?b=1", "camera:0", "/dev/video0"])
def test_an_address_says_what_is_read_and_what_to_do(
    address: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(folder, monkeypatch, "infer", address, "--checkpoint", "checkpoint") == 3
    line = capsys.readouterr().err
    named = address.replace("camera:0", "/dev/video0")
    assert line.count("\n") == 1 and "only files" in line and f"ffmpeg -i {named}" in line


EVIL = "x\x1b[2J\n\n00:00.000 --> 00:09.000\nforged\u2028\u202e\x9b"


@pytest.fixture
def written() -> Callable[[str], str]:
    good = {"path": EVIL, "start_s": 0.0, "end_s": 1.0, "top": [{"label": EVIL, "score": 0.5}], "frames": [[0]]}
    good |= {"decoder": "pyav", "num_frames": 2, "fps": 8.0, "error": None}
    bad = good | {"top": [], "error": f"{EVIL}: is empty"}

    def write(form: str) -> str:
        out = io.StringIO()
        find_writer(form)(iter([good, bad]), out)
        return out.getvalue()

    return write


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "vtt"])
def test_no_format_lets_a_name_command_the_terminal_or_forge_a_line(form: str, written: Callable[[str], str]) -> None:
    text = written(form)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("forged") == text.count("00:09.000")  # on one line with the rest of its name
    if form == "vtt":
        assert [line for line in text.split("\n") if "-->" in line] == ["00:00:00.000 --> 00:00:01.000"]
    elif form == "csv":
        assert len(list(csv.reader(io.StringIO(text)))) == len(text.splitlines()) == 3
    elif form == "json":
        assert [result["path"] for result in json.loads(text)["results"]] == [EVIL, EVIL]
