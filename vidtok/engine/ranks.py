"""The processes of one training: which of them decides, and how the others learn what it decided.

Either Lightning starts the others in the middle of the first one's work (``run.devices=2`` alone): they learn from
their environment. Or a launcher starts all of them at once (torchrun, srun, one command per node): they meet at
``MASTER_ADDR:MASTER_PORT``, where the process group will be made later, since a run's folder is chosen before that.
"""

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import SLURMEnvironment
from torch import Tensor

from vidtok.errors import ConfigError, Interrupted, VidtokError

T = TypeVar("T")
Answer = str | None

AGREED = "VIDTOK_AGREED"
_WAIT = timedelta(minutes=30)
_PARENT_SECONDS, _POLL_SECONDS = 30.0, 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """This process among those of the run, as its launcher's environment says."""

    rank: int
    meeting: int = 1
    """Processes that were started apart and have to meet; 1: the first one starts the others."""


def find_place(environ: Mapping[str, str], *, devices: int, nodes: int) -> Place:
    """Where a process stands before there is a process group.

    Raises:
        ConfigError: torchrun started another number of processes than the recipe asks for.
    """
    wanted = devices * nodes
    if "TORCHELASTIC_RUN_ID" in environ and int(environ["WORLD_SIZE"]) != wanted:
        raise ConfigError(
            f"torchrun started {environ['WORLD_SIZE']} processes, but run.devices={devices} x run.nodes={nodes} are "
            f"{wanted}; make them equal"
        )
    if wanted == 1:
        return Place(0)
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return Place(int(environ["RANK"]), wanted)
    if "SLURM_NTASKS" in environ and environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return Place(int(environ.get("SLURM_PROCID", 0)), wanted)
    node, local = int(environ.get("NODE_RANK", 0)), environ.get("LOCAL_RANK")
    if local is not None and AGREED not in environ:  # started by hand, each with its number
        return Place(devices * node + int(local), wanted)
    return Place(devices * node + int(local or 0), nodes)


class Ranks:
    """Lets the first process decide for all. Keep it as long as the run: the first one's holds the meeting point."""

    def __init__(self, *, devices: int = 1, nodes: int = 1) -> None:
        self.place = find_place(os.environ, devices=devices, nodes=nodes)
        self._is_alone = devices * nodes == 1
        self._store: dist.Store | None = None
        self._is_child, self._told = _told_by_parent()
        self._answers: list[Answer] = []

    @property
    def is_first(self) -> bool:
        """True in the process that decides, writes and speaks."""
        return (dist.get_rank() if self._has_group else self.place.rank) == 0

    @property
    def _has_group(self) -> bool:
        return not self._is_alone and has_group()

    def agree(self, decide: Callable[[], Answer]) -> Answer:
        """What ``decide`` returns in the first process, in all of them; a user's mistake is raised in all of them.

        All processes agree on the same questions in the same order; one that is started later hears the answers.
        """
        if self._told:
            return self._told.pop(0)
        is_shared = self._has_group or self.place.meeting > 1
        answer = self._share(decide) if is_shared else decide()
        self._answers.append(answer)
        return answer

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Let the processes that are started inside know all answers; in those, end after the one that started them.

        Lightning kills the first process when another one ends with an error, and the exit code would be lost: what
        all ranks have agreed on must end there first.
        """
        parent = os.getppid()
        if not self._is_child:
            os.environ[AGREED] = f"{os.getpid()} {json.dumps(self._answers)}"
        try:
            yield
        except Interrupted:  # ``interruption.py`` waits for the first process as well
            raise
        except VidtokError:
            if self._is_child:
                _outlive(parent)
            raise
        finally:
            os.environ.pop(AGREED, None)  # a second training of the same processes agrees anew

    def _share(self, decide: Callable[[], Answer]) -> Answer:
        answer: Answer | VidtokError = None
        if self.is_first:
            try:
                answer = decide()
            except VidtokError as error:
                answer = error
        answer = _broadcast(answer) if self._has_group else self._tell(answer)
        if isinstance(answer, VidtokError):
            raise answer
        return answer

    def _tell(self, answer: Answer | VidtokError) -> Answer | VidtokError:
        """Through the store; the first process waits until all have read, as the store may end with it."""
        store = self._meet()
        number = store.add(f"vidtok/round/{self.place.rank}", 1)
        place, all_read = f"vidtok/answer/{number}", f"vidtok/all_read/{number}"
        if self.place.rank == 0:
            store.set(place, pickle.dumps(answer))
            store.wait([all_read], _WAIT)
            return answer
        answer = pickle.loads(store.get(place))  # written by the first process of this very run
        if store.add(f"vidtok/read/{number}", 1) == self.place.meeting - 1:
            store.set(all_read, "")
        return answer

    def _meet(self) -> dist.Store:
        if self._store is None:
            host, port = _meeting_point(os.environ)
            hosts = self.place.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
            self._store = dist.TCPStore(
                host, port, self.place.meeting, hosts, _WAIT, wait_for_workers=False, multi_tenant=hosts
            )
        return self._store


def _meeting_point(environ: Mapping[str, str]) -> tuple[str, int]:
    """Host and port of the first process. Raises ConfigError when the launcher names none."""
    if "SLURM_NTASKS" in environ and "RANK" not in environ:
        slurm = SLURMEnvironment()
        return slurm.main_address, slurm.main_port
    if "MASTER_PORT" not in environ:
        raise ConfigError(
            "the processes of this run cannot find each other: set MASTER_ADDR and MASTER_PORT, or use torchrun"
        )
    return environ.get("MASTER_ADDR", "127.0.0.1"), int(environ["MASTER_PORT"])


def has_group() -> bool:
    """Whether the processes of a training are connected."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _broadcast(answer: T) -> T:
    box = [answer]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather(values: list[T]) -> list[T]:
    """The values of all ranks, in the order of the ranks."""
    if not has_group():
        return values
    found: list[list[T]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, values)
    return [value for several in found for value in several]


class SharedSum:
    """A number of this rank, summed over all ranks and brought to the host while the next step runs.

    Args:
        value: made at the same moment on every rank.
        device: of the training.
    """

    def __init__(self, value: Tensor | float, device: torch.device) -> None:
        self._total = value
        self._work: dist.Work | None = None
        self._arrived: torch.cuda.Event | None = None
        if has_group():
            self._total = torch.as_tensor(value, dtype=torch.float32, device=device).clone()
            self._work = dist.all_reduce(self._total, async_op=True)
        if isinstance(self._total, Tensor) and self._total.is_cuda:
            if self._work is not None:
                self._work.wait()  # orders the streams; the host goes on
            self._total = self._total.to("cpu", non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> float:
        """The sum. One step later it has long arrived: nothing that was queued since is waited for."""
        if self._arrived is not None:
            self._arrived.synchronize()
        elif self._work is not None:
            self._work.wait()
        return float(self._total)


def _told_by_parent() -> tuple[bool, list[Answer]]:
    """Whether Lightning started this process in the middle of a training, and what was agreed there before.

    The word names the process that said it: one that was left over in the environment is not heard.
    """
    parent, _, word = os.environ.get(AGREED, "").partition(" ")
    return (True, json.loads(word)) if parent == str(os.getppid()) else (False, [])


def _outlive(parent: int) -> None:
    patience = time.monotonic() + _PARENT_SECONDS
    while os.getppid() == parent and time.monotonic() < patience:
        time.sleep(_POLL_SECONDS)
