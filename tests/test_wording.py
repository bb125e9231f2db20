from vidtok.wording import counted


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [counted(number, "video") for number in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert counted(2, "class") == "2 classes" and counted(1, "class") == "1 class"
