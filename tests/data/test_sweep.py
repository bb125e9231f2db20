"""Work over many files: what one file does to its process stays with that file, and what is done stays done."""

import os
import sys
from pathlib import Path

import pytest

from tests.data.sweep_work import measure, measure_and_count
from vidtok.data.sweep import Ledger, Limits, Outcome, sweep

ON_LINUX = sys.platform == "linux"


def files(folder: Path, *names: str) -> list[str]:
    for number, name in enumerate(names, 1):
        (folder / name).write_bytes(bytes(number))
    return [str(folder / name) for name in names]


def outcomes(paths: list[str], **options: object) -> dict[str, Outcome]:
    settings = {"work": measure, "workers": 2, "limits": Limits(seconds=20, memory_bytes=2**30)} | options
    found = list(sweep(settings.pop("work"), paths, **settings))
    assert len({outcome.path for outcome in found}) == len(found)
    return {os.path.basename(outcome.path): outcome for outcome in found}


def test_a_file_that_hangs_crashes_or_is_greedy_costs_itself_only(tmp_path: Path) -> None:
    faults = ["refused_1", "segfault_1", "killed_1", "bug_1", "hang_1"] + ["greedy_1"] * ON_LINUX
    good = [f"good_{number}" for number in range(6)]
    mixed = [name for pair in zip(faults, good, strict=False) for name in pair]
    paths = files(tmp_path, *mixed, *good[len(faults) :])
    found = outcomes(paths, limits=Limits(seconds=1, memory_bytes=2**30))
    assert set(found) == {os.path.basename(path) for path in paths}
    assert all(found[name].record == {"bytes": (tmp_path / name).stat().st_size} for name in good)
    causes = {name: outcome.cause for name, outcome in found.items() if outcome.record is None}
    words = {
        "refused_1": "is of no use",
        "segfault_1": "(SIGSEGV)",
        "killed_1": "(SIGKILL, out of memory?)",
        "bug_1": "(exit code 3)",
        "hang_1": "not done within 1 s",
        "greedy_1": "more than 1.0 GiB of memory",
    }
    assert set(causes) == set(faults)
    for name, cause in causes.items():
        assert cause is not None and cause.startswith(f"{tmp_path / name}: ") and words[name] in cause


def test_the_number_of_processes_does_not_change_the_outcomes(tmp_path: Path) -> None:
    paths = files(tmp_path, *(f"good_{number}" for number in range(9)), "refused_1")
    assert outcomes(paths, workers=1) == outcomes(paths, workers=3)


def test_a_file_that_is_named_twice_is_done_once(tmp_path: Path) -> None:
    [path] = files(tmp_path, "good")
    assert len(outcomes([path, path, path], work=measure_and_count)) == 1
    assert Path(f"{path}.times").read_text() == "x"


def test_no_files_need_no_process() -> None:
    assert list(sweep(measure, [], workers=2, limits=Limits())) == []


def test_a_second_sweep_skips_what_was_done_and_tries_failures_and_changed_files_again(tmp_path: Path) -> None:
    kept, changed, refused = files(tmp_path, "kept", "changed", "refused_1")
    state = tmp_path / "out" / "state.jsonl"

    def again() -> dict[str, Outcome]:
        return outcomes([kept, changed, refused], work=measure_and_count, ledger=Ledger(state, "measure"))

    first = again()
    Path(changed).write_bytes(bytes(99))
    second = again()
    assert {name: outcome.is_new for name, outcome in second.items()} == {
        "kept": False,
        "changed": True,
        "refused_1": True,
    }
    assert second["kept"].record == first["kept"].record
    assert second["changed"].record == {"bytes": 99}
    times = [len(Path(f"{path}.times").read_text()) for path in (kept, changed, refused)]
    assert times == [1, 2, 2]


def test_an_interrupted_sweep_keeps_what_was_done_and_leaves_no_process(tmp_path: Path) -> None:
    paths = files(tmp_path, "a", "b", "hang_1", "c", "d")
    state = tmp_path / "state.jsonl"
    running = sweep(measure, paths, workers=1, limits=Limits(seconds=60), ledger=Ledger(state, "measure"))
    assert [next(running).path, next(running).path] == paths[:2]
    running.close()
    assert [Ledger(state, "measure").find(path) for path in paths] == [{"bytes": 1}, {"bytes": 2}, None, None, None]


def test_a_line_that_was_cut_off_costs_one_record_only(tmp_path: Path) -> None:
    paths = files(tmp_path, "a", "b", "c")
    state = tmp_path / "state.jsonl"
    outcomes(paths, workers=1, ledger=Ledger(state, "measure"))
    state.write_bytes(state.read_bytes()[:-5])
    found = outcomes(paths, workers=1, ledger=Ledger(state, "measure"))
    assert [found[name].is_new for name in "abc"] == [False, False, True]
    assert not any(outcome.is_new for outcome in outcomes(paths, ledger=Ledger(state, "measure")).values())


def test_records_of_another_task_do_not_count(tmp_path: Path) -> None:
    [path] = files(tmp_path, "a")
    state = tmp_path / "state.jsonl"
    outcomes([path], ledger=Ledger(state, "measure"))
    assert Ledger(state, "other").find(path) is None
    assert Ledger(state, "measure").find(path) == {"bytes": 1}


def test_a_record_that_is_no_longer_valid_is_made_again(tmp_path: Path) -> None:
    [path] = files(tmp_path, "a")
    state = tmp_path / "state.jsonl"
    outcomes([path], ledger=Ledger(state, "measure"))
    for is_valid in (True, False):
        found = outcomes([path], ledger=Ledger(state, "measure"), is_valid=lambda path, record, ok=is_valid: ok)
        assert found["a"].is_new is not is_valid


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_processes_end_with_the_sweep(tmp_path: Path) -> None:
    outcomes(files(tmp_path, "a", "b", "hang_1"), limits=Limits(seconds=0.5, memory_bytes=2**30))
    children = (Path("/proc/self/task") / str(os.getpid()) / "children").read_text().split()
    names = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    assert not any(b"spawn_main" in name for name in names)
