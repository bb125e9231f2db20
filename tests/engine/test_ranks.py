"""Who decides in a training of several processes, and how the others hear of it."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vidtok.engine.ranks import AGREED, Place, Ranks, SharedSum, find_place, gather
from vidtok.errors import ConfigError, DataError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize(
    ("environ", "devices", "nodes", "place"),
    [
        ({}, 1, 1, Place(0)),
        ({}, 2, 1, Place(0)),
        ({"LOCAL_RANK": "1", AGREED: "7 []"}, 2, 1, Place(1)),
        ({"LOCAL_RANK": "1"}, 2, 1, Place(1, 2)),
        (TORCHRUN, 2, 1, Place(1, 2)),
        (SRUN, 2, 2, Place(3, 4)),
        (SRUN, 1, 1, Place(0)),  # each task trains alone
        (SRUN | {"SLURM_JOB_NAME": "interactive"}, 2, 1, Place(0)),
        ({"NODE_RANK": "1"}, 2, 2, Place(2, 2)),
    ],
)
def test_the_launcher_says_where_a_process_stands(
    environ: dict[str, str], devices: int, nodes: int, place: Place
) -> None:
    assert find_place(environ, devices=devices, nodes=nodes) == place


def test_torchrun_and_recipe_must_agree_on_the_number_of_processes() -> None:
    with pytest.raises(ConfigError, match=r"torchrun started 2 processes, but run.devices=1 x run.nodes=1 are 1"):
        find_place(TORCHRUN, devices=1, nodes=1)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> list[Ranks]:
    """Both processes of a run that was started by a launcher, here in two threads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for rank in (0, 1):
        for key, value in {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            monkeypatch.setenv(key, str(value))
        found.append(Ranks(devices=2))
    return found


def test_processes_of_a_launcher_hear_what_the_first_one_decides(pair: list[Ranks]) -> None:
    def talk(ranks: Ranks) -> list[str | None]:
        rank = ranks.place.rank
        return [ranks.agree(lambda: f"folder of rank {rank}"), ranks.agree(lambda: None if rank == 0 else "other")]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(talk, pair)) == [["folder of rank 0", None]] * 2
    assert [ranks.is_first for ranks in pair] == [True, False]


def test_a_mistake_that_the_first_process_finds_ends_all_of_them(pair: list[Ranks]) -> None:
    def refuse() -> str:
        raise DataError("the list has changed")

    def fails(ranks: Ranks) -> str:
        with pytest.raises(DataError) as error:
            ranks.agree(refuse)
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fails, pair)) == ["the list has changed"] * 2


def test_a_process_that_is_started_later_hears_the_answers_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(AGREED, f"{os.getppid()} {json.dumps(['one', None])}")
    child = Ranks(devices=2)
    assert not child.is_first
    assert [child.agree(lambda: "own"), child.agree(lambda: "own")] == ["one", None]


def test_a_word_left_over_from_another_process_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AGREED, f"{os.getpid()} {json.dumps(['stale'])}")
    assert Ranks().agree(lambda: "own") == "own"


def test_what_was_agreed_is_in_the_environment_only_while_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(AGREED, raising=False)
    ranks = Ranks()
    ranks.agree(lambda: "folder")
    with ranks.leading():
        assert os.environ[AGREED] == f"{os.getpid()} {json.dumps(['folder'])}"
    assert AGREED not in os.environ
    with pytest.raises(DataError), ranks.leading():
        raise DataError("no")
    assert AGREED not in os.environ


def test_alone_a_sum_and_a_gathering_are_the_own_values() -> None:
    assert SharedSum(2.0, torch.device("cpu")).read() == 2.0
    assert SharedSum(torch.tensor(1.0), torch.device("cpu")).read() == 1.0
    assert gather(["one"]) == ["one"]
