"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """``1 video``, ``2 videos``, ``1 class``, ``2 classes``; a noun takes a plain s, or es after one."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
