"""When two class names mean the same class."""

_FOLDER_NAMES = str.maketrans("_", " ", "\"'()")


def spelling(name: str) -> str:
    """What of a class name counts: folders write underscores for spaces; case, quotes and parentheses come and go."""
    return " ".join(name.translate(_FOLDER_NAMES).casefold().split())
