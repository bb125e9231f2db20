"""Which compressor works on which backbone: the one table behind the code, ``vidtok models`` and the README."""

from dataclasses import dataclass
from typing import Literal

from vidtok.config import Layout

Status = Literal["paper", "natural", "extension", "refused"]


@dataclass(frozen=True, slots=True)
class Support:
    """One cell of the table.

    ``paper``: as published. ``natural``: the published method, unchanged, on another arrangement of the same tokens.
    ``extension``: a rule of ours fills what the paper leaves open, ``note`` says which. ``refused``: ``note`` says why.
    """

    status: Status
    note: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.note}" if self.note else self.status


PAPER, NATURAL = Support("paper"), Support("natural")


def extension(note: str) -> Support:
    return Support("extension", note)


def refused(reason: str) -> Support:
    return Support("refused", reason)


LAYOUTS: dict[Layout, str] = {
    "frames": "one encoder over each frame's tokens",
    "joint": "one encoder over all space-time tokens",
    "factorised": "a spatial encoder per time step, then a temporal one",
    "divided": "attention along time, then along space, in every block, with a cls token",
    "divided_no_cls": "attention along time and along space in every block, no cls token",
    "dot_product": "half of the heads along time, half along space, no cls token",
}
"""What the columns of the table mean."""

_NO_CLS = refused(
    "sites must stay aligned over time, and without a cls token nothing scores them for all steps at once"
)
_HALVED = refused("half of its heads attend along time and need the full lattice of every time step")

SUPPORT: dict[str, dict[Layout, Support]] = {
    "none": dict.fromkeys(LAYOUTS, PAPER),
    "lookup": {
        "frames": PAPER,
        "joint": Support("natural", "resizes over three axes"),
        "factorised": Support("natural", "most likely the paper's video form"),
        "divided": extension("gathers and infuses per time step, no cls"),
        "divided_no_cls": extension("gathers and infuses per time step"),
        "dot_product": extension("gathers and infuses per time step"),
    },
    "semantic": {
        "frames": PAPER,
        "joint": extension("one lattice per time step, joint attention afterwards"),
        "factorised": NATURAL,
        "divided": extension("the lattice keeps time, no cls"),
        "divided_no_cls": extension("the lattice keeps time"),
        "dot_product": extension("generation looks at space with all heads; the lattice keeps time"),
    },
    "evit": {
        "frames": PAPER,
        "joint": Support("natural", "the time axis dissolves; scored by the mean query where there is no cls token"),
        "factorised": Support("natural", "per time step"),
        "divided": extension("one keep-set for all time steps, a fused token per step"),
        "divided_no_cls": _NO_CLS,
        "dot_product": _HALVED,
    },
    "supertoken": {
        "frames": Support("natural", "the paper's module in a plain block"),
        "joint": extension("association per time step, or in space-time cells"),
        "factorised": NATURAL,
        "divided": extension("spatial half only"),
        "divided_no_cls": extension("spatial half only"),
        "dot_product": _HALVED,
    },
    "merge": {
        "frames": PAPER,
        "joint": Support("natural", "the time axis dissolves"),
        "factorised": Support("natural", "per time step"),
        "divided": extension("all time steps merge the same sites"),
        "divided_no_cls": extension("all time steps merge the same sites"),
        "dot_product": _HALVED,
    },
    "random": {
        "frames": PAPER,
        "joint": Support("natural", "the time axis dissolves"),
        "factorised": Support("natural", "per time step"),
        "divided": extension("one keep-set for all time steps"),
        "divided_no_cls": _NO_CLS,
        "dot_product": _HALVED,
    },
}
"""The whole support table: compressor, then the arrangement of the backbone's attention."""
