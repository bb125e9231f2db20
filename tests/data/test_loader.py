"""The order of training clips: one stream, however it is cut over ranks, workers and interruptions."""

import multiprocessing
import os
import signal
from itertools import chain, islice
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from vidtok.data.loader import EpochBatchSampler, Key, ResumableLoader, heed_parent_only
from vidtok.errors import ConfigError, DataError


class Keys(Dataset[dict[str, torch.Tensor]]):
    """Gives back the key that was asked for."""

    def __getitem__(self, key: Key) -> dict[str, torch.Tensor]:
        return {"key": torch.tensor(key)}


def sampler(num_items: int = 23, **options: int) -> EpochBatchSampler:
    return EpochBatchSampler(num_items, **({"batch_size": 4, "seed": 7} | options))


def keys(loader: ResumableLoader) -> list[list[Key]]:
    return [[tuple(key) for key in batch["key"].tolist()] for batch in loader]


def test_an_epoch_visits_no_video_twice_and_leaves_out_less_than_a_batch() -> None:
    visited = list(chain.from_iterable(sampler()))
    assert len(set(visited)) == len(visited) == 20
    assert {epoch for epoch, _ in visited} == {0}
    assert {index for _, index in visited} < set(range(23))


def test_epochs_and_seeds_have_orders_of_their_own_and_repeat() -> None:
    first, again, other_seed, later = sampler(), sampler(), sampler(seed=8), sampler()
    later.set_epoch(1)
    orders = [[index for _, index in chain.from_iterable(one)] for one in (first, again, other_seed, later)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and orders[0] != orders[3]


@given(st.integers(12, 60), st.sampled_from([(1, 12), (2, 6), (3, 4), (6, 2)]), st.integers(0, 3))
def test_a_global_batch_holds_the_same_videos_for_any_number_of_ranks(
    num_items: int, split: tuple[int, int], epoch: int
) -> None:
    world_size, batch_size = split
    ranks = [sampler(num_items, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    alone = sampler(num_items, batch_size=12)
    for one in (*ranks, alone):
        one.set_epoch(epoch)
    for shares, whole in zip(zip(*ranks, strict=True), alone, strict=True):
        assert all(len(share) == batch_size for share in shares)
        assert sorted(chain.from_iterable(shares)) == sorted(whole)


@pytest.mark.parametrize(("accumulate", "batches"), [(1, 5), (2, 4), (5, 5), (6, 5)])
def test_an_epoch_is_a_whole_number_of_optimiser_steps_if_it_holds_one(accumulate: int, batches: int) -> None:
    assert len(sampler(accumulate=accumulate)) == len(list(sampler(accumulate=accumulate))) == batches


def test_fewer_videos_than_a_batch_are_all_used() -> None:
    few = sampler(3)
    assert few.batch_size == 3
    assert [sorted(index for _, index in batch) for batch in few] == [[0, 1, 2]]
    assert [len(batch) for batch in sampler(5, world_size=2, rank=1)] == [2]
    with pytest.raises(DataError, match="1 training videos cannot be shared by 2 devices"):
        sampler(1, world_size=2)


@given(st.integers(0, 5))
def test_a_position_leaves_out_exactly_what_was_done(batches_done: int) -> None:
    whole, resumed = sampler(), sampler()
    whole.set_epoch(3)
    resumed.set_position(3, batches_done)
    resumed.set_epoch(3)  # as Lightning says again on resume
    assert list(resumed) == list(whole)[batches_done:]
    assert len(resumed) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_stopped_anywhere_goes_on_where_it_was(workers: int) -> None:
    uninterrupted = ResumableLoader(Keys(), sampler())
    expected = keys(uninterrupted) + keys(uninterrupted)
    assert [batch[0][0] for batch in expected] == [0] * 5 + [1] * 5  # epochs follow each other
    stopped = ResumableLoader(Keys(), sampler(), workers=workers)
    head = [[tuple(key) for key in batch["key"].tolist()] for batch in islice(stopped, 3)]
    state = stopped.state_dict()
    assert state == {"epoch": 0, "batches_done": 3}  # though workers have read ahead
    resumed = ResumableLoader(Keys(), sampler(), workers=workers)
    resumed.load_state_dict(state)
    assert head + keys(resumed) + keys(resumed) == expected


def test_a_loader_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    keys(ResumableLoader(Keys(), sampler()))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_position_beyond_the_epoch_is_refused_and_not_asserted() -> None:
    loader = ResumableLoader(Keys(), sampler(8))
    with pytest.raises(ConfigError, match="at batch 3 of an epoch that now has 2"):
        loader.load_state_dict({"epoch": 0, "batches_done": 3})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_workers_start_with_signals_blocked_until_they_heed_their_parent() -> None:
    held: Any = multiprocessing.get_context("fork").SimpleQueue()

    def tell(worker: int) -> None:
        held.put(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        heed_parent_only(worker)

    loader = ResumableLoader(Keys(), sampler(), workers=1)
    loader.worker_init_fn = tell
    assert len(list(loader)) == 5
    assert {signal.SIGINT, signal.SIGTERM} <= held.get()
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, [])
