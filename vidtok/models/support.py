"""The support table by backbone, as rows for JSON and as a table for people."""

from vidtok.compress.support import SUPPORT, Support
from vidtok.config import BackboneUnion, TimeSformerConfig
from vidtok.models.build import BACKBONES

_SIGNS = {"paper": "paper", "natural": "yes", "extension": "ext.", "refused": "-"}


def backbone_kinds() -> dict[str, BackboneUnion]:
    """Every backbone by name, the variants of TimeSformer apart."""
    kinds: dict[str, BackboneUnion] = {}
    for family in BACKBONES:
        if family is TimeSformerConfig:
            kinds |= {
                f"timesformer {attention}": TimeSformerConfig(attention=attention)
                for attention in ("divided", "joint", "space")
            }
        else:
            kinds[family.model_fields["kind"].default] = family()
    return kinds


def support_rows() -> list[dict[str, str]]:
    """One row per pair: backbone, compressor, status and note."""
    return [
        {"backbone": name, "compressor": kind, "status": cell.status, "note": cell.note}
        for name, backbone in backbone_kinds().items()
        for kind, cell in ((kind, SUPPORT[kind][backbone.layout]) for kind in SUPPORT)
    ]


def markdown_table() -> str:
    """The table in Markdown, and below it every note; the README holds it word for word."""
    kinds = [kind for kind in SUPPORT if kind != "none"]
    lines = [f"| backbone | {' | '.join(f'`{kind}`' for kind in kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    notes: dict[Support, int] = {}
    for name, backbone in backbone_kinds().items():
        cells = []
        for kind in kinds:
            cell = SUPPORT[kind][backbone.layout]
            number = f" ({notes.setdefault(cell, len(notes) + 1)})" if cell.note else ""
            cells.append(_SIGNS[cell.status] + number)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    told = [f"{number}. {cell.note}" for cell, number in notes.items()]
    return "\n".join([*lines, "", *told])
