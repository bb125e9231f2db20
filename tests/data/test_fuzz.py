"""Damaged files are decoded or refused with a cause, whatever the damage: no crash, no hang, no flood of memory."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.data.difficult_files import UNREADABLE
from tests.data.mutate import MUTATIONS, write_mutants
from tests.data.sweep_work import label
from vidtok.data.decode import VERIFY_MAX_FRAMES
from vidtok.data.sweep import Limits, Outcome, sweep
from vidtok.data.verify import check_video, verify_videos

_LARGEST_SOURCE = 1_000_000
_TS_PACKET = 188
"""Bytes of a packet of a transport stream."""


def small_sources(folder: Path) -> list[Path]:
    """Videos of a folder, and files that only look like some, that are quick to decode."""
    files = sorted(path for path in folder.rglob("*") if path.suffix not in (".md", ".csv", ".txt"))
    return [path for path in files if path.is_file() and 0 < path.stat().st_size < _LARGEST_SOURCE]


def check(paths: Sequence[Path], *, seconds: float) -> None:
    """Verify and label the files, and require that both decode them or refuse them, and agree."""
    limits = Limits(seconds=seconds, memory_bytes=2 * 2**30)
    names = [str(path) for path in paths]
    verified = verify_videos(names, limits=limits)
    labelled = {outcome.path: outcome for outcome in sweep(label, names, workers=1, limits=limits)}
    for ours in verified:
        theirs = labelled[ours.path]
        for outcome in (ours, theirs):
            assert outcome.record is not None or is_refusal(outcome), outcome.cause
        assert (ours.record is None) == (theirs.record is None), (ours, theirs)
        if ours.record is not None and theirs.record is not None and ours.record["promised"] <= VERIFY_MAX_FRAMES:
            assert ours.record["frames"] == theirs.record["frames"], (ours, theirs)


def is_refusal(outcome: Outcome) -> bool:
    """True when the file was refused with one line, and neither hung nor crashed nor flooded its process."""
    cause = outcome.cause or ""
    failures = ("crashed the process", "not done within", "of memory", "deadline")
    return (
        cause.startswith(f"{outcome.path}: ")
        and "\n" not in cause
        and not any(failure in cause for failure in failures)
    )


def test_mutants_differ_from_their_sources_and_are_the_same_for_the_same_seed(difficult: Path, tmp_path: Path) -> None:
    sources = [difficult / "b_frames.mov", difficult / "vp9.webm", difficult / "mpeg4.avi"]
    contents = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        paths = write_mutants(sources, tmp_path / run, 3 * len(MUTATIONS), seed=5)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert not {source.read_bytes() for source in sources} & set(contents[0])


def test_forty_damaged_files_are_decoded_or_refused_with_a_cause(difficult: Path, tmp_path: Path) -> None:
    sources = [path for path in small_sources(difficult) if path.name not in {*UNREADABLE, "long.mp4"}]
    check(write_mutants(sources, tmp_path, 40, seed=11), seconds=30)


def test_a_stream_that_shows_up_after_opening_is_passed_over(difficult: Path, tmp_path: Path) -> None:
    content = bytearray((difficult / "transport.ts").read_bytes())
    starts = [place for place in range(0, len(content), _TS_PACKET) if content[place + 1 : place + 3] == b"\x41\x00"]
    content[starts[-1] + 2] = 0x55  # the last picture is now that of a stream of its own
    (tmp_path / "late_stream.ts").write_bytes(content)
    record = check_video(str(tmp_path / "late_stream.ts"), deadline_seconds=60)
    assert record["frames"] == len(starts) - 1


@pytest.mark.slow
def test_a_thousand_damaged_files_are_decoded_or_refused_with_a_cause(
    shared_data: Path, difficult: Path, tmp_path: Path
) -> None:
    clips = small_sources(shared_data / "clips")
    real = small_sources(shared_data / "formats") + clips[:: max(1, len(clips) // 30)]
    seed = int(os.environ.get("VIDTOK_FUZZ_SEED", "0"))
    check(write_mutants(real + small_sources(difficult), tmp_path, 1000, seed=seed), seconds=60)
