"""Samples: deterministic by key, independent of each other, and honest about unreadable videos."""

import pickle
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.videos import frame_numbers, write_counter
from vidtok.config import AugmentConfig, ClipConfig
from vidtok.data.cache import decode_all
from vidtok.data.dataset import TrainDataset, ViewDataset, load_views
from vidtok.data.decode import decode_frames
from vidtok.data.loader import EpochBatchSampler, ResumableLoader
from vidtok.data.manifest import Item
from vidtok.data.swaps import resolve_swaps
from vidtok.errors import DataError

CLIP = ClipConfig(frames=4, stride=2, size=32)
LIVELY = AugmentConfig(
    crop_scale=(0.3, 1.0),
    hflip=0.5,
    hflip_swaps=((0, 1),),
    reverse=0.5,
    color_jitter=0.8,
    grayscale=0.2,
    randaugment="rand-m7-n4-mstd0.5-inc1",
    erase=0.5,
)
STILL = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Six videos of 10 to 25 frames, labels 0 and 1."""
    folder = tmp_path_factory.mktemp("videos")
    return [Item(str(write_counter(folder / f"{i}.mp4", frames=10 + 3 * i)), i % 2) for i in range(6)]


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video at all" * 50)
    return str(path)


def dataset(items: list[Item], *, augment: AugmentConfig = LIVELY, seed: int = 3, **options: Any) -> TrainDataset:
    swaps = resolve_swaps(augment, None, 2)
    return TrainDataset(items, clip=CLIP, augment=augment, swaps=swaps, seed=seed, **options)


def view_dataset(items: list[Item], *, num_clips: int = 2, num_crops: int = 3, **options: Any) -> ViewDataset:
    return ViewDataset(items, clip=CLIP, num_clips=num_clips, num_crops=num_crops, **options)


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """True when all entries are equal, tensors bit by bit."""
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


def frames_of(clip: torch.Tensor) -> list[int]:
    """Which frames of the counting video a clip [3, T, S, S] shows; its left part is darker."""
    return frame_numbers(clip[:, :, :, 16].float().mean((0, 2)).tolist())


def test_a_sample_is_a_function_of_seed_epoch_and_index(items: list[Item]) -> None:
    first, again = dataset(items), dataset(items)
    assert all(same(first[epoch, index], again[epoch, index]) for epoch in (0, 1) for index in (5, 0))
    assert not same(first[0, 5], first[1, 5])
    assert not same(first[0, 5], dataset(items, seed=4)[0, 5])
    assert not torch.equal(first[0, 0]["clip"], first[0, 1]["clip"])


def test_a_training_sample_says_all_that_is_documented(items: list[Item]) -> None:
    sample = dataset(items)[2, 1]
    assert sample["clip"].shape == (3, 4, 32, 32) and sample["clip"].dtype == torch.uint8
    assert sample["clip"].is_contiguous()
    del sample["clip"], sample["label"]
    assert sample == {"valid": True, "index": 1, "path": items[1].path, "error": ""}


def test_the_stream_is_the_same_for_any_number_of_workers(items: list[Item]) -> None:
    def stream(workers: int) -> list[dict[str, Any]]:
        sampler = EpochBatchSampler(len(items), batch_size=2, seed=0)
        loader = ResumableLoader(dataset(items), sampler, workers=workers)
        return list(chain(loader, loader))  # two epochs: persistent workers must learn of the second

    alone = stream(0)
    assert len(alone) == 6
    for workers in (1, 2):
        assert all(same(one, other) for one, other in zip(alone, stream(workers), strict=True))


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_two_ranks_see_the_samples_that_one_sees(items: list[Item], broken: str, workers: int, repeats: int) -> None:
    listed = [*items[:4], Item(broken, 1), *items[5:]]

    def stream(rank: int, world_size: int) -> list[dict[str, Any]]:
        sampler = EpochBatchSampler(6, batch_size=4 // world_size, seed=0, rank=rank, world_size=world_size)
        loader = ResumableLoader(dataset(listed, repeats=repeats), sampler, workers=workers)
        return list(chain(loader, loader))

    def samples(batch: dict[str, Any]) -> list[dict[str, Any]]:
        return [{key: value[row] for key, value in batch.items()} for row in range(len(batch["valid"]))]

    for alone, *shares in zip(stream(0, 1), stream(0, 2), stream(1, 2), strict=True):
        shared = [sample for share in shares for sample in samples(share)]
        assert len(shared) == 4 * repeats
        for sample in samples(alone):
            assert sum(same(sample, other) for other in shared) >= 1


def test_repeats_are_the_same_frames_augmented_differently(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    decodes: list[str] = []
    monkeypatch.setattr(
        "vidtok.data.dataset.decode_frames", lambda path, *a, **k: decodes.append(path) or decode_frames(path, *a, **k)
    )
    flipping = STILL.model_copy(update={"hflip": 0.5, "hflip_swaps": ((0, 1),)})
    flips = []
    for epoch in range(6):
        first, second, third = dataset(items, augment=flipping, repeats=3).samples((epoch, 5))
        assert frames_of(first["clip"]) == frames_of(second["clip"]) == frames_of(third["clip"])
        flips += [sample["label"] == 0 for sample in (first, second, third)]
    assert len(decodes) == 6
    assert 0 < sum(flips) < 18
    lively = dataset(items, repeats=2).samples((0, 5))
    assert not torch.equal(lively[0]["clip"], lively[1]["clip"])
    assert same(lively[0], dataset(items)[0, 5])  # the first one is that of a run without repeats


def test_repeats_follow_each_other_in_a_batch_and_unreadable_ones_are_marked(items: list[Item], broken: str) -> None:
    listed = [*items[:2], Item(broken, 1)]
    loader = ResumableLoader(dataset(listed, repeats=2), EpochBatchSampler(3, batch_size=3, seed=0))
    (batch,) = loader
    indices = batch["index"].tolist()
    assert indices[::2] == indices[1::2] and sorted(indices) == [0, 0, 1, 1, 2, 2]
    assert batch["clip"].shape == (6, 3, 4, 32, 32)
    assert batch["valid"].tolist() == [index != 2 for index in indices]


@pytest.mark.parametrize("pixel_format", ["rgb", "yuv420"])
def test_twins_are_one_clip_played_both_ways(items: list[Item], pixel_format: str) -> None:
    still = pixel_format == "yuv420"  # planes take no colour changes
    changes = {"color_jitter": 0.0, "grayscale": 0.0, "randaugment": None, "erase": 0.0} if still else {"erase": 0.0}
    twins = LIVELY.model_copy(update=changes | {"reverse_twins": True, "reverse_swaps": ((0, 1),)})
    alone = twins.model_copy(update={"reverse_twins": False})
    time = 0 if still else 1
    for epoch in range(4):
        made = dataset(items, augment=twins, repeats=4, pixel_format=pixel_format).samples((epoch, 5))
        for first, second in (made[:2], made[2:]):
            assert torch.equal(first["clip"], second["clip"].flip(time))
            assert {first["label"], second["label"]} == {0, 1}
        assert not torch.equal(made[0]["clip"], made[2]["clip"])
        assert same(made[0], dataset(items, augment=alone, pixel_format=pixel_format)[epoch, 5])


def test_what_twins_share_cancels_in_the_gradient_of_a_class_and_its_reverse(items: list[Item]) -> None:
    """A classifier that cannot see the order of frames learns nothing from twins, but chases noise without them."""

    def gradient(augment: AugmentConfig) -> float:
        samples = [
            sample for index in range(6) for sample in dataset(items, augment=augment, repeats=2).samples((0, index))
        ]
        looks = torch.stack([sample["clip"].float().mean(1).flatten() for sample in samples])
        labels = torch.tensor([sample["label"] for sample in samples])
        weight = torch.zeros(2, looks.shape[1], requires_grad=True)
        torch.nn.functional.cross_entropy(looks @ weight.T, labels).backward()
        return float(weight.grad.abs().max())

    random = STILL.model_copy(update={"reverse": 0.5, "reverse_swaps": ((0, 1),)})
    assert gradient(random.model_copy(update={"reverse_twins": True})) < 1e-4  # rounding of values up to 255
    assert gradient(random) > 1


def test_a_class_that_must_not_be_flipped_is_not(items: list[Item]) -> None:
    config = STILL.model_copy(update={"hflip": 1.0, "hflip_swaps": "left_right"})
    swaps = resolve_swaps(config, ("look left", "walk"), 2)
    data = TrainDataset(items, clip=CLIP, augment=config, swaps=swaps, seed=3)
    plain = dataset(items, augment=STILL)
    assert torch.equal(data[0, 4]["clip"], plain[0, 4]["clip"])  # label 0
    assert torch.equal(data[0, 5]["clip"], plain[0, 5]["clip"].flip(3))  # label 1


def test_a_target_rate_chooses_frames_by_their_times_with_and_without_a_cache(items: list[Item]) -> None:
    slow = CLIP.model_copy(update={"fps": 4.0, "stride": 1})  # the videos show 8 frames a second
    swaps = resolve_swaps(STILL, None, 2)
    cache = decode_all([item.path for item in items])
    from_files, from_memory = (
        TrainDataset(items, clip=slow, augment=STILL, swaps=swaps, seed=3, cache=source) for source in (None, cache)
    )
    assert np.diff(frames_of(from_files[0, 5]["clip"])).tolist() == [2, 2, 2]
    assert same(from_files[0, 5], from_memory[0, 5])
    views = ViewDataset(items, clip=slow, num_clips=2, num_crops=1)
    assert views[4]["frames"].tolist() == [[0, 2, 4, 6], [14, 16, 18, 20]]


@pytest.mark.parametrize("cached", [False, True])
def test_a_dataset_survives_pickling_for_workers_that_are_not_forked(items: list[Item], cached: bool) -> None:
    original = dataset(items, cache=decode_all([item.path for item in items]) if cached else None)
    copy = pickle.loads(pickle.dumps(original))
    assert same(copy[1, 2], original[1, 2])
    views = view_dataset(items)
    assert same(pickle.loads(pickle.dumps(views))[2], views[2])


def test_an_unreadable_video_is_marked_and_changes_no_other_sample(items: list[Item], broken: str) -> None:
    damaged = [*items[:2], Item(broken, 1), *items[3:]]
    sample = dataset(damaged)[0, 2]
    assert (sample["valid"], sample["label"], sample["path"]) == (False, 1, broken)
    assert sample["error"].startswith(broken) and "\n" not in sample["error"]
    assert sample["clip"].shape == (3, 4, 32, 32) and not sample["clip"].any()
    for index in (0, 1, 3, 4, 5):
        assert same(dataset(damaged)[0, index], dataset(items)[0, index])
    batch = next(iter(ResumableLoader(dataset(damaged), EpochBatchSampler(6, batch_size=6, seed=0))))
    assert batch["valid"].dtype == torch.bool and batch["label"].dtype == torch.int64
    assert [path for path, ok in zip(batch["path"], batch["valid"].tolist(), strict=True) if not ok] == [broken]


def test_a_cache_gives_the_very_samples_of_the_files(items: list[Item], broken: str) -> None:
    listed = [*items, Item(broken, 0), Item("/nowhere/absent.mp4", 1)]
    cache = decode_all([item.path for item in listed], short_side=40)
    from_files, from_memory = dataset(listed, short_side=40), dataset(listed, cache=cache)
    for index in range(8):
        assert same(from_files[1, index], from_memory[1, index])


def test_frames_are_the_drawn_ones_and_labels_follow_reversal(items: list[Item]) -> None:
    backwards = STILL.model_copy(update={"reverse": 1.0, "reverse_swaps": ((0, 1),)})
    shown = set()
    for epoch in range(12):
        forward, back = dataset(items, augment=STILL)[epoch, 5], dataset(items, augment=backwards)[epoch, 5]
        frames = frames_of(forward["clip"])
        assert np.diff(frames).tolist() == [2, 2, 2] and frames[0] >= 0 and frames[-1] < 25
        assert torch.equal(back["clip"], forward["clip"].flip(1))
        assert (forward["label"], back["label"]) == (1, 0)
        shown.add(frames[0])
    assert len(shown) > 4


def test_a_flip_mirrors_the_picture_and_swaps_its_label(items: list[Item]) -> None:
    mirrored = STILL.model_copy(update={"hflip": 1.0, "hflip_swaps": ((0, 1),)})
    plain, flipped = dataset(items, augment=STILL)[0, 4], dataset(items, augment=mirrored)[0, 4]
    assert torch.equal(flipped["clip"], plain["clip"].flip(3))
    assert (plain["label"], flipped["label"]) == (0, 1)


def test_shuffled_frames_are_the_same_frames_in_another_order(items: list[Item]) -> None:
    shuffled = STILL.model_copy(update={"shuffle": True})
    orders = set()
    for epoch in range(8):
        plain, mixed = (frames_of(dataset(items, augment=a)[epoch, 5]["clip"]) for a in (STILL, shuffled))
        assert sorted(mixed) == plain
        orders.add(tuple(np.argsort(mixed).tolist()))
    assert len(orders) > 4
    views, plain_views = view_dataset(items, shuffle_seed=0), view_dataset(items)
    assert same(views[3], view_dataset(items, shuffle_seed=0)[3])
    assert not torch.equal(views[3]["frames"], plain_views[3]["frames"])
    assert torch.equal(views[3]["frames"].sort().values, plain_views[3]["frames"])
    assert frames_of(views[3]["views"][1]) == views[3]["frames"][0].tolist()


def test_views_show_the_frames_that_they_name(items: list[Item]) -> None:
    sample = view_dataset(items)[4]  # 22 frames
    assert sample["views"].shape == (6, 3, 4, 32, 32) and sample["views"].dtype == torch.uint8
    assert sample["frames"].tolist() == [[0, 2, 4, 6], [14, 16, 18, 20]]
    assert [frames_of(view) for view in sample["views"]] == [[0, 2, 4, 6]] * 3 + [[14, 16, 18, 20]] * 3
    facts = {key: sample[key] for key in ("label", "index", "valid", "error", "num_frames", "fps", "fallback")}
    assert facts == {"label": 0, "index": 4, "valid": True, "error": "", "num_frames": 22, "fps": 8.0, "fallback": ""}
    assert sample["decoder"] == "pyav"


def test_three_crops_see_the_left_the_middle_and_the_right(items: list[Item]) -> None:
    loaded = load_views(items[0].path, CLIP, num_clips=1, num_crops=3)
    darker = (loaded.views[:, :, :, :, 0].float() - loaded.views[:, :, :, :, -1].float()).mean((1, 2, 3))
    assert (darker < -3).tolist() == [True, True, False]  # of 43 columns, the left 8 are darker


def test_evaluation_and_inference_see_the_same_pixels(items: list[Item]) -> None:
    loaded = load_views(items[2].path, CLIP, num_clips=2, num_crops=3)
    sample = view_dataset(items)[2]
    assert torch.equal(loaded.views, sample["views"])
    assert np.array_equal(loaded.indices, sample["frames"].numpy())


def test_a_window_shows_only_its_frames(items: list[Item]) -> None:
    path = items[5].path  # 25 frames, 8 a second
    loaded = load_views(path, CLIP, num_clips=1, num_crops=1, window_seconds=(1.0, 2.0))
    assert loaded.indices.tolist() == [[8, 10, 12, 14]]
    assert frames_of(loaded.views[0]) == [8, 10, 12, 14]
    short = load_views(path, CLIP, num_clips=1, num_crops=1, window_seconds=(2.9, 9.0))
    assert short.indices.tolist() == [[24, 24, 24, 24]]
    with pytest.raises(DataError, match=r"the window starts at 4 s, but the video ends at 3\.125 s"):
        load_views(path, CLIP, num_clips=1, num_crops=1, window_seconds=(4.0, 5.0))


def test_unreadable_views_keep_their_shape_and_need_no_label(items: list[Item], broken: str) -> None:
    views = view_dataset([Item(items[0].path, None), Item(broken, None)])
    loader = torch.utils.data.DataLoader(views, batch_size=2)
    batch = next(iter(loader))
    assert batch["views"].shape == (2, 6, 3, 4, 32, 32)
    assert batch["label"].tolist() == [-1, -1]
    assert batch["valid"].tolist() == [True, False]
    assert batch["error"][0] == "" and batch["error"][1].startswith(broken)
    assert batch["num_frames"].tolist() == [10, 0]


def test_real_clips_of_two_crop_sizes_give_the_documented_shapes(shared_data: Path) -> None:
    for name in ("arm_wrestling.mp4", "hmdb_wave_ratrace.avi", "asl/want.mkv"):
        loaded = load_views(
            str(shared_data / "clips" / name),
            ClipConfig(frames=8, stride=4, size=96, short_side=112),
            num_clips=2,
            num_crops=3,
        )
        assert loaded.views.shape == (6, 3, 8, 96, 96)
        assert loaded.indices.max() < loaded.info.num_frames
        assert not torch.equal(loaded.views[0], loaded.views[2])  # landscape: left differs from right
