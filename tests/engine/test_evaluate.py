"""Scoring a list of videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import vidtok
from tests.engine.cases import NAMES, named_model, write_set
from vidtok.data.manifest import Manifest, load_manifest
from vidtok.engine.evaluate import Evaluation, Protocol, evaluate, find_pairs, match_classes
from vidtok.engine.predict import Compute
from vidtok.errors import ConfigError, DataError

CPU = Compute(torch.device("cpu"), "fp32")
PROTOCOL = Protocol(clips=2, crops=3)


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def manifest(listing: Path) -> Manifest:
    return load_manifest(listing, max_missing=0.5, class_names=NAMES)


def run(manifest: Manifest, **options: Any) -> Evaluation:
    return evaluate(named_model(), manifest, compute=CPU, protocol=PROTOCOL, **{"workers": 0} | options)


@pytest.fixture(scope="module")
def result(manifest: Manifest) -> Evaluation:
    return run(manifest, budgets=[(1, 1), (3, 3), (4, 4)], pairs=[("run", "sit")])


def test_evaluation_and_the_python_api_give_the_same_scores(result: Evaluation, manifest: Manifest) -> None:
    model = named_model()
    for k, budget in enumerate(result.budgets):
        paths = [item.path for item in manifest.items[:4]]
        for row, answer in enumerate(vidtok.predict(paths, model=model, topk=3, views=(2, 3), budget=budget)):
            scores = {entry["label"]: entry["score"] for entry in answer["top"]}
            for name, score in zip(NAMES, result.scores[k, row], strict=True):
                assert scores[name] == pytest.approx(score, abs=1e-6)  # printed scores have six digits


def test_an_unreadable_video_is_counted_and_has_no_scores(result: Evaluation) -> None:
    assert result.scored.tolist() == [True] * 4 + [False]
    assert result.num_failed == 1
    assert "broken.mp4" in result.errors[4]
    assert np.isnan(result.scores[:, 4]).all() and np.isfinite(result.scores[:, :4]).all()
    assert result.manifest.num_listed == int(result.scored.sum()) + result.num_failed + len(result.manifest.missing)


def test_the_checkpoints_own_budget_is_the_headline_and_stays_set(result: Evaluation, manifest: Manifest) -> None:
    assert result.budgets[result.headline] == (3, 3)
    model = named_model()
    other = evaluate(model, manifest, compute=CPU, protocol=PROTOCOL, budgets=[(1, 1), (2, 2)], workers=0)
    assert other.headline == 0
    assert model.budget == (3, 3)


def test_more_tokens_cost_more(result: Evaluation) -> None:
    costs = [cost["gmacs_per_view"] for cost in result.costs]
    assert costs == sorted(costs) and len(set(costs)) == 3
    assert result.costs[0]["tokens_per_layer"][-1] == (2, 32)  # 2 time steps: 1x1 and 4x4 tokens each


def test_a_video_is_opened_as_often_for_three_budgets_as_for_one(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    plain_open: Callable[..., Any] = av.open

    def counting_open(*args: Any, **options: Any) -> Any:
        opened.append(args)
        return plain_open(*args, **options)

    monkeypatch.setattr(av, "open", counting_open)
    run(manifest)
    once = len(opened)
    run(manifest, budgets=[(1, 1), (2, 2), (3, 3)])
    assert once >= 4
    assert len(opened) == 2 * once


def test_threads_change_neither_scores_nor_order(result: Evaluation, manifest: Manifest) -> None:
    seen: list[tuple[int, int]] = []
    threaded = run(manifest, budgets=result.budgets, workers=3, on_video=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(threaded.scores, result.scores)
    assert threaded.labels.tolist() == result.labels.tolist() == [0, 1, 2, 0, 1]
    assert seen == [(number, 5) for number in range(1, 6)]


def test_shuffled_frames_give_other_scores_and_the_same_ones_again(result: Evaluation, manifest: Manifest) -> None:
    shuffled, again = run(manifest, shuffle_seed=1), run(manifest, shuffle_seed=1)
    np.testing.assert_array_equal(shuffled.scores, again.scores)
    assert not np.allclose(shuffled.scores[0, :4], result.scores[result.headline, :4], atol=1e-6)


def test_a_budget_that_the_model_does_not_take_stops_before_decoding(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="budget"):
        run(manifest, budgets=[(9, 9)], on_video=lambda done, total: pytest.fail("decoded"))


def test_scores_that_are_not_finite_fail_by_name_and_never_count_as_right(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = named_model()
    plain, calls = model.answer, []

    def first_answer_infinite(heads: torch.Tensor) -> torch.Tensor:
        calls.append(heads)
        return plain(heads) + (torch.tensor([0.0, torch.inf, 0.0]) if len(calls) == 1 else 0)

    monkeypatch.setattr(model, "answer", first_answer_infinite)
    protocol = Protocol(clips=1, crops=1)
    result = evaluate(model, manifest, compute=CPU, protocol=protocol, budgets=[(1, 1), (3, 3)], workers=0)
    assert result.scored.tolist() == [False, True, True, True, False] and result.num_failed == 2
    assert result.errors[0].startswith(manifest.items[0].path) and "scores are not finite" in result.errors[0]
    assert np.isnan(result.scores[:, 0]).all() and result.decoders == {"pyav": 3}


def test_a_model_with_a_bias_that_is_nan_scores_nothing(manifest: Manifest) -> None:
    model = named_model()
    torch.nn.init.constant_(model.head.bias, torch.nan)
    with pytest.raises(DataError, match=r"none of 6 videos could be scored; the first: .*scores are not finite"):
        evaluate(model, manifest, compute=CPU, protocol=PROTOCOL, workers=0)


def test_more_clips_than_memory_holds_are_refused() -> None:
    with pytest.raises(ConfigError, match="eval.clips is 1000000; it must be 1 to 100"):
        Protocol(clips=1_000_000)


def test_a_list_without_a_readable_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("not a video")
    (tmp_path / "list.csv").write_text("bad.mp4 0\n")
    with pytest.raises(DataError, match=r"none of 1 videos .*bad\.mp4"):
        run(load_manifest(tmp_path / "list.csv", class_names=NAMES))


def test_class_names_that_differ_are_named(manifest: Manifest) -> None:
    def with_names(names: tuple[str, ...] | None) -> Manifest:
        return Manifest(manifest.source, manifest.items, names, manifest.num_listed, manifest.missing)

    model = named_model()
    assert match_classes(model, with_names(NAMES)) == NAMES
    assert match_classes(model, with_names(None)) == NAMES
    with pytest.raises(DataError, match="class 1 is 'sits', 'sit' in the checkpoint"):
        match_classes(model, with_names(("run", "sits", "stand up")))
    model.class_names = None
    assert match_classes(model, with_names(("a", "b", "c"))) == ("a", "b", "c")
    assert match_classes(model, with_names(None)) == ("0", "1", "2")
    with pytest.raises(DataError, match="4 classes, but the checkpoint has 3"):
        match_classes(model, with_names(("a", "b", "c", "d")))


def test_pairs_are_read_from_beside_the_list(listing: Path, tmp_path: Path) -> None:
    assert find_pairs(listing) == find_pairs(listing.parent) == [("run", "sit")]
    assert find_pairs(tmp_path / "list.csv") == []
    (tmp_path / "pairs.csv").write_text('"a, b",c\nd\n')
    with pytest.raises(DataError, match="row 2: 'd'"):
        find_pairs(tmp_path / "list.csv")


def test_a_pair_of_unknown_classes_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DataError, match="'sat' is not one of the 3 classes"):
        run(manifest, pairs=[("run", "sat")])
