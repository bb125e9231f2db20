"""The order of training clips: the same for any number of workers and devices, and resumable at any batch."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vidtok.data.seeding import Purpose, keyed_rng
from vidtok.errors import ConfigError, DataError

Key = tuple[int, int]
"""epoch, index of the video"""


class EpochBatchSampler(Sampler[list[Key]]):
    """Yields batches of (epoch, index) for one rank.

    One permutation per (seed, epoch) is cut into global batches of ``batch_size * world_size`` videos, of
    which rank r takes every ``world_size``-th from the r-th: the videos of a global batch depend on its size
    and not on the number of ranks. The rest of the permutation that fills no optimiser step is left out in
    this epoch. With fewer videos than one global batch holds, the batch shrinks instead.

    The position moves by :meth:`set_position`, by :meth:`set_epoch` (which Lightning calls) and as
    :class:`ResumableLoader` hands out batches; iterating alone does not move it, since workers read ahead.

    Args:
        num_items: number of videos.
        batch_size: videos per batch and rank.
        seed: of the order.
        rank: this process, from 0.
        world_size: number of processes.
        accumulate: batches per optimiser step; an epoch is a whole number of steps if it holds one.

    Raises:
        DataError: fewer videos than ranks.
    """

    def __init__(
        self,
        num_items: int,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        if num_items < world_size:
            raise DataError(f"{num_items} training videos cannot be shared by {world_size} devices; use fewer devices")
        self.batch_size = min(batch_size, num_items // world_size)
        self.epoch = 0
        self.batches_done = 0
        self._num_items = num_items
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        batches = num_items // (self.batch_size * world_size)
        self._num_batches = batches // accumulate * accumulate or batches

    @property
    def sampler(self) -> "EpochBatchSampler":
        """Itself: Lightning looks for ``set_epoch`` at ``loader.batch_sampler.sampler``."""
        return self

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever the position is."""
        return self._num_batches

    def set_position(self, epoch: int, batches_done: int) -> None:
        """Go on after ``batches_done`` batches of ``epoch``."""
        assert 0 <= batches_done <= len(self), (batches_done, len(self))
        self.epoch, self.batches_done = epoch, batches_done

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of ``epoch``, unless it is the present one: a resumed epoch keeps its position."""
        if epoch != self.epoch:
            self.set_position(epoch, 0)

    def __iter__(self) -> Iterator[list[Key]]:
        """The batches of the present epoch from the present position on."""
        epoch, step = self.epoch, self.batch_size * self._world_size
        order = keyed_rng(Purpose.ORDER, self._seed, epoch).permutation(self._num_items).tolist()
        for start in range(self.batches_done * step, self._num_batches * step, step):
            yield [(epoch, index) for index in order[start + self._rank : start + step : self._world_size]]


class ResumableLoader(DataLoader[dict[str, Any]]):
    """A loader over an :class:`EpochBatchSampler` that counts the batches it has handed out.

    Its state is the position after the last one, whatever workers have prefetched; Lightning stores it in
    checkpoints. Iterating again after a whole epoch goes on with the next one.
    """

    def __init__(
        self,
        dataset: Dataset[dict[str, Any]],
        sampler: EpochBatchSampler,
        *,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            worker_init_fn=heed_parent_only,
            generator=torch.Generator(),  # of its own: starting an epoch must not advance the global one
        )
        self.position = sampler

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        position = self.position
        if position.batches_done == len(position):
            position.set_position(position.epoch + 1, 0)
        with _signals_held():
            batches = super().__iter__()
        for batch in batches:
            position.batches_done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position: {"epoch", "batches_done"}."""
        return {"epoch": self.position.epoch, "batches_done": self.position.batches_done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a stored position; it only fits a sampler of the same videos, seed and global batch.

        Raises:
            ConfigError: a position that this sampler does not have.
        """
        if state["batches_done"] > len(self.position):
            raise ConfigError(
                f"the checkpoint stands at batch {state['batches_done']} of an epoch that now has "
                f"{len(self.position)}; give the list and the batch that its run was begun with, or start anew"
            )
        self.position.set_position(state["epoch"], state["batches_done"])


@contextmanager
def _signals_held() -> Iterator[None]:
    """Workers start with signals blocked: torch lets SIGTERM end them until :func:`heed_parent_only` has run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_parent_only(worker: int) -> None:
    """Let the process that trains decide when its workers end: Ctrl-C and a scheduler send signals to all of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_when_parent_says, args=(os.getppid(),), daemon=True).start()


def _end_when_parent_says(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
