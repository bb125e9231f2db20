"""What became of every tensor of a conversion, as data and as a table to print."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """Every name of the model is in ``loaded``, ``adapted`` or ``new``; every name of the source too, or unused."""

    source: str
    format: str
    """Name of the source's format, such as ``hf-vivit``."""
    target: str
    """The model in a few words."""
    loaded: dict[str, tuple[str, ...]]
    """Our name -> the source's names; the values are the file's, at most rearranged."""
    adapted: dict[str, str]
    """Our name -> how the values differ from the file's."""
    new: dict[str, str]
    """Our name -> how it starts."""
    unused: dict[str, str]
    """The source's name -> why."""
    notes: tuple[str, ...] = ()

    def table(self) -> str:
        """A few lines of text: counts, and every name that was not simply loaded, blocks taken together."""
        lines = [f"{self.source} ({self.format}) -> {self.target}", f"{'loaded':<9}{len(self.loaded):>5}"]
        for status in ("adapted", "new", "unused"):
            rows: dict[str, str] = getattr(self, status)
            lines.append(f"{status:<9}{len(rows):>5}")
            lines += [f"{'':>16}{name}: {reason}" for name, reason in fold(rows)]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])


def fold(rows: dict[str, str]) -> list[tuple[str, str]]:
    """Names that differ in a block's number, or in weight and bias, and share a reason, as one name each."""
    counts: dict[tuple[str, str], int] = {}
    for name, reason in rows.items():
        pattern = re.sub(r"(?<=[._])\d+(?=[./])", "*", re.sub(r"[./](weight|bias|kernel|scale)$", "", name))
        counts[pattern, reason] = counts.get((pattern, reason), 0) + 1
    return [(f"{name} ({count})" if count > 1 else name, reason) for (name, reason), count in counts.items()]
