"""``vidtok bench model``: what token budgets cost and save by the clock."""

from pathlib import Path
from typing import Annotated

import typer

from vidtok.cli.output import note
from vidtok.errors import ConfigError
from vidtok.outputs import check_writable_file, writing
from vidtok.text import to_json


def model(
    source: Annotated[str, typer.Argument(help="model name such as vivit_b_16x2, or a dense checkpoint")],
    cases: Annotated[
        list[str], typer.Argument(help="compressor:budget,key=value, such as evit:0.7 lookup:8x5x5,reuse=pre")
    ],
    frames: Annotated[int | None, typer.Option(min=1, max=1024, help="frames per clip, for a model by name")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=4320, help="side of the crop [pixels], for a model by name; default: 224")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="clips per forward pass")] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="timed passes of each model, taken in turn")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; 1 measures processor time")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16")] = "auto",
    out: Annotated[Path | None, typer.Option("--json", help="also write the rows to this file")] = None,
) -> None:
    """Time a dense model and the same model with compressors, in turn, and compare the clock with the multiply-adds.

    ``efficiency`` is the speed-up over the ratio of multiply-adds: 1.00 when the clock confirms the count.
    """
    from vidtok.config import ClipConfig, ModelConfig, RunConfig, from_tree
    from vidtok.engine.bench import bench_models, document, parse_case
    from vidtok.engine.predict import choose_compute

    if out is not None:
        check_writable_file(out)
    chosen = [parse_case(case) for case in cases]
    settings = from_tree(RunConfig, {"device": device, "precision": precision})
    compute = choose_compute(settings.device, settings.precision)
    clip = None
    if not Path(source).exists() and not source.startswith("hf://"):
        family = from_tree(ModelConfig, {"backbone": source}).backbone
        clip = from_tree(ClipConfig, {"frames": frames or family.default_frames, "size": size or 224})
    elif frames or size:
        raise ConfigError(f"--frames and --size are for a model by name; the checkpoint '{source}' has its own")
    rows = bench_models(
        source,
        chosen,
        clip=clip,
        compute=compute,
        batch=batch,
        rounds=rounds,
        threads=threads,
        on_round=lambda done: note(f"round {done} of {rounds}"),
    )
    first = rows[0]
    where = f"{first.device}, {first.threads} threads" if first.threads else first.device
    print(f"{source} on {where}, {first.dtype}, batch {batch}, {first.clock} time, median of {rounds} rounds")
    print(f"{'case':28}{'GMACs':>9}{'params M':>10}{'clips/s':>10}{'spread':>8}{'speed-up':>10}{'MACs/':>8}{'eff.':>7}")
    for row in rows:
        print(
            f"{row.compressor:28}{row.gmacs_per_view:9.2f}{row.params_m:10.1f}{row.clips_per_s:10.3f}{row.spread:8.1%}"
            f"{row.speedup_vs_dense:10.2f}{row.flops_ratio:8.2f}{row.efficiency:7.2f}"
        )
    if out is not None:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(to_json(document(rows), indent=2) + "\n", encoding="utf-8")
