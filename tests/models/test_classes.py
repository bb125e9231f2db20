"""Fine-tuning matches a trained classifier with the wanted classes by name."""

from pathlib import Path

import pytest
import torch

from tests.models.test_start import clip_of, tiny_fe
from tests.models.tiny import tiny_model
from vidtok.config import LookupConfig
from vidtok.models.checkpoint import save_pretrained
from vidtok.models.pretrained.classes import match_classes
from vidtok.models.pretrained.start import start_from

NAMES = tuple("abcde")


@pytest.mark.parametrize(
    ("theirs", "ours", "rows", "told"),
    [
        ("abc", "abc", (0, 1, 2), "kept: the same 3 classes"),
        ("abc", "cab", (2, 0, 1), "reordered by name: 3 of 3 classes had another number"),
        ("abc", "acb", (0, 2, 1), "reordered by name: 2 of 3"),
        ("abc", "abd", None, "new: 1 of 3 classes are not the checkpoint's, such as 'd'"),
        ("abc", "ab", None, "new: 2 classes instead of 3"),
        ("abc", "aab", None, "new: 0 of 3 classes"),
        (None, "abc", (0, 1, 2), "kept by number: the checkpoint does not name its classes"),
        ("abc", None, (0, 1, 2), "kept by number: the data does not name its classes"),
        (
            ["Air drumming", "tying knot (not on a tie)"],
            ["tying_knot_(not_on_a_tie)", "air_drumming"],
            (1, 0),
            "reorder",
        ),
        (["air_drumming", "b"], ["Air drumming", "b"], (0, 1), "kept: the same classes"),
        (["A", "a"], ["a", "A"], (1, 0), "reordered"),
    ],
)
def test_the_same_names_reorder_rows_and_other_names_begin_anew(theirs, ours, rows, told):
    wanted = len(ours) if ours is not None else 3
    found = match_classes(theirs and list(theirs), 3 if theirs is None else len(theirs), ours and list(ours), wanted)
    assert found.rows == rows and found.told.startswith(told)


def saved(folder: Path):
    model = tiny_fe(compressor=LookupConfig(budget=(2, 2)))
    model.class_names = NAMES
    save_pretrained(model, folder)
    return model


@pytest.mark.parametrize("order", ["edcba", "bacde"])
def test_each_class_keeps_the_row_of_its_name_in_both_heads(order: str, tmp_path: Path):
    trained = saved(tmp_path / "out")
    model, table = start_from(
        tmp_path / "out", trained.config, trained.preprocessing, num_classes=5, class_names=list(order)
    )
    assert "classifier reordered by name" in table and model.class_names == tuple(order)
    rows = [NAMES.index(name) for name in order]
    for head in ("head", "lookup_head"):
        for part in ("weight", "bias"):
            assert torch.equal(getattr(getattr(model, head), part), getattr(getattr(trained, head), part)[rows])
    clip = clip_of(model)
    torch.testing.assert_close(model.eval()(clip), trained(clip)[:, rows])


def test_other_names_begin_a_new_head_and_unknown_ones_keep_it(tmp_path: Path):
    trained = saved(tmp_path / "out")
    start = {"config": trained.config, "clip": trained.preprocessing, "num_classes": 5}
    other, table = start_from(tmp_path / "out", **start, class_names=list("abcdx"))
    assert not torch.equal(other.head.weight, trained.head.weight)
    assert "4 of the heads new" in table and "such as 'x'" in table
    assert torch.equal(other.encoder.norm.weight, trained.encoder.norm.weight)
    silent, table = start_from(tmp_path / "out", **start)
    assert torch.equal(silent.head.weight, trained.head.weight)
    assert "kept by number: the data does not name its classes" in table and silent.class_names == NAMES


def test_the_classes_of_public_weights_are_matched_by_name_too(tmp_path: Path):
    from tests.models.test_pretrained_hf import LIBRARY, SIZES

    names = {0: "stand up", 1: "sit", 2: "jump", 3: "run", 4: "walk"}
    LIBRARY["vivit"](**SIZES["small"], id2label=names).save_pretrained(tmp_path / "vivit")
    from vidtok.models.checkpoint import load

    trained = load(tmp_path / "vivit")
    start = {"config": trained.config, "clip": trained.preprocessing, "num_classes": 5}
    ours = ["jump", "run", "sit", "stand_up", "walk"]
    model, table = start_from(tmp_path / "vivit", **start, class_names=ours)
    assert torch.equal(model.head.weight, trained.head.weight[[2, 3, 1, 0, 4]]) and "reordered by name" in table
    new, table = start_from(tmp_path / "vivit", **start, class_names=list("vwxyz"))
    assert not torch.equal(new.head.weight, trained.head.weight) and "classifier new: 5 of 5" in table


def test_a_compressor_given_on_the_way_keeps_the_order(tmp_path: Path):
    dense = tiny_model("vit")
    dense.class_names = ("a", "b", "c")
    save_pretrained(dense, tmp_path / "out")
    config = tiny_model("vit", compressor="evit").config
    model, table = start_from(tmp_path / "out", config, dense.preprocessing, num_classes=3, class_names=["c", "b", "a"])
    assert torch.equal(model.head.weight, dense.head.weight[[2, 1, 0]]) and "reordered by name: 2 of 3" in table
