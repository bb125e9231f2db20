"""Text for terminals and JSON for every reader."""

import json

import pytest

from vidtok.text import brief, counted, json_lines, printable, to_json

ODD = "a\x1b[2J\nb\x9b\u2028\u202e\udcff\xe9\U0001f600"


def test_what_a_terminal_obeys_is_escaped_and_the_rest_stays():
    assert printable(ODD) == r"a\u001b[2J\u000ab\u009b\u2028\u202e\udcff" + "\xe9\U0001f600"
    assert printable("tying knot (not on a tie) \u7d50") == "tying knot (not on a tie) \u7d50"


def test_json_reads_back_what_was_written_and_is_one_safe_line():
    text = to_json({"path": ODD})
    assert json.loads(text) == {"path": ODD}
    assert printable(text) == text
    assert [json.loads(line) for line in json_lines([{"a": ODD}, {"b": 1}]).splitlines()] == [{"a": ODD}, {"b": 1}]
    assert to_json({"a": [1]}, indent=2) == json.dumps({"a": [1]}, indent=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_a_mistake_of_ours(value: float):
    with pytest.raises(ValueError, match="JSON"):
        to_json({"rows": [{"score": value}]})


def test_a_long_value_is_cut_in_messages():
    assert brief("9" * 400) == "9" * 37 + "..." and brief("4x3") == "4x3"


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [counted(number, "video") for number in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert counted(2, "class") == "2 classes" and counted(1, "class") == "1 class"
