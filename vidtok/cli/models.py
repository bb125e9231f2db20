"""``vidtok models``: names, parameters and cost of what can be built, and which compressor works where."""

from typing import Annotated, Any

import typer

from vidtok.config import format_budget
from vidtok.errors import ConfigError
from vidtok.text import to_json


def models(
    pattern: Annotated[str, typer.Argument(help="shell pattern of names")] = "*",
    compressor: Annotated[str, typer.Option(help="compressor to build with")] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document with the support table")] = False,
    support: Annotated[bool, typer.Option(help="print only which compressor works on which backbone")] = False,
) -> None:
    """List models with parameters [M] and multiply-adds per view [GMACs], 224 pixels, 400 classes."""
    from vidtok.models.support import markdown_table, support_rows

    if support and not as_json:
        print(markdown_table())
        return
    rows = [] if support else _rows(pattern, compressor)
    if not rows and not support:
        raise ConfigError(f"no model matches '{pattern}' with compressor '{compressor}'; `vidtok models` lists all")
    if as_json:
        print(to_json({"schema": "vidtok.models/1", "models": rows, "support": support_rows()}, indent=2))
        return
    print(f"{'model':24}{'compressor':12}{'budget':>8}{'clip':>10}{'params M':>10}{'GMACs/view':>12}")
    for row in rows:
        clip_text = f"{row['frames']}x{row['size']}"
        print(
            f"{row['model']:24}{row['compressor']:12}{row['budget']:>8}{clip_text:>10}"
            f"{row['params_m']:>10.1f}{row['gmacs_per_view']:>12.1f}"
        )


def _rows(pattern: str, compressor: str) -> list[dict[str, Any]]:
    import torch

    from vidtok.models.build import create_model, list_models
    from vidtok.models.profile import count_gmacs, count_params

    rows = []
    for name in list_models(pattern, compressor=compressor):
        with torch.device("meta"):
            model = create_model(name, image_size=224, compressor=compressor)
        clip = model.preprocessing
        rows.append(
            {
                "model": name,
                "compressor": compressor,
                "budget": format_budget(model.budget),
                "frames": clip.frames,
                "size": clip.size,
                "params_m": round(count_params(model) / 1e6, 3),
                "gmacs_per_view": round(count_gmacs(model), 2),
            }
        )
    return rows
