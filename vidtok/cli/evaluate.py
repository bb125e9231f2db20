"""``vidtok eval``: multi-view test of a checkpoint, with a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtok.cli.output import finite, load_model, note, progress
from vidtok.cli.streams import terminable
from vidtok.outputs import check_writable
from vidtok.text import counted, printable, to_json

if TYPE_CHECKING:
    from vidtok.config import Recipe
    from vidtok.data.quarantine import Quarantine
    from vidtok.engine.predict import Compute
    from vidtok.models.backbones import VideoModel

Text = str | None


def evaluate(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="overrides such as eval.average=probs", show_default=False)
    ] = None,
    checkpoint: Annotated[Text, typer.Option(help=".ckpt file, checkpoint folder or hf://org/name")] = None,
    run: Annotated[Text, typer.Option(help="run folder of `vidtok train`: its best.ckpt and its config")] = None,
    config: Annotated[Text, typer.Option("--config", "-c", help="recipe: a path or a packaged name")] = None,
    data: Annotated[Text, typer.Option(help="list or folder to test on, instead of the recipe's data.test")] = None,
    root: Annotated[Text, typer.Option(help="folder that the paths of the list are relative to")] = None,
    classes: Annotated[Text, typer.Option(help="text file, one class name a line")] = None,
    views: Annotated[
        Text, typer.Option(help="clips x crops, such as 4x3; default: the recipe's or the checkpoint's")
    ] = None,
    compressor: Annotated[Text, typer.Option(help="compressor to give a dense checkpoint, such as evit")] = None,
    budgets: Annotated[
        Text, typer.Option(help="token budgets, such as 2x2,4x4; default: the recipe's, else the checkpoint's own")
    ] = None,
    min_top1: Annotated[
        float | None,
        typer.Option("--min-top1", min=0, max=1, callback=finite, help="exit with 7 when top-1 is below this share"),
    ] = None,
    out: Annotated[Text, typer.Option(help="folder for the results; default: eval in the run folder, or here")] = None,
    workers: Annotated[int | None, typer.Option(min=0, max=256, help="videos decoded ahead")] = None,
    device: Annotated[Text, typer.Option(help="auto, cpu or cuda")] = None,
    precision: Annotated[
        str, typer.Option(help="auto, fp32, bf16 or fp16; auto as in infer, whatever the run was trained in")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print metrics.json instead of a table")] = False,
) -> None:
    """Test a checkpoint on labelled videos. Writes metrics, predictions, tables and report.html."""
    from vidtok.errors import CheckFailed, ConfigError

    if (checkpoint is None) == (run is None):
        raise ConfigError("give either --checkpoint C or --run DIR: what is to be tested?")
    from vidtok.engine.predict import parse_views

    chosen_views = parse_views(views) if views else None
    chosen_budgets = _parse_budgets(budgets) if budgets else ()
    source = checkpoint or run or ""
    home = _run_folder(source)
    folder = out or str((home or Path()) / "eval")
    check_writable(folder)
    model = load_model(source, compressor, next(iter(chosen_budgets), None))
    if min_top1 is not None and model.multi_label:
        raise ConfigError("--min-top1 needs a checkpoint with one label per clip; this one has any number (mAP)")
    recipe = _resolve(model, config, home, overrides or [])
    recipe = _with_flags(
        recipe, data=data, root=root, classes=classes, views=chosen_views, budgets=chosen_budgets, workers=workers
    )
    compute = _compute(recipe, device, precision)
    with terminable():
        found, quarantine = _run(model, recipe, source=source, compute=compute, out=folder)
    print(to_json(found, indent=2) if as_json else _summary(found, folder))
    quarantine.check()
    if min_top1 is not None and not found["top1"] >= min_top1:
        raise CheckFailed(f"top-1 at {found['protocol']} is {found['top1']:.4f}, below --min-top1 {min_top1:g}")


def _parse_budgets(text: str) -> tuple[Any, ...]:
    from vidtok.config import parse_budget

    return tuple(parse_budget(part) for part in text.split(","))


def _run_folder(source: str) -> Path | None:
    """The run folder that a checkpoint lies in; None for others."""
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    return folder if (folder / "config.yaml").is_file() else None


def _resolve(model: "VideoModel", config: Text, home: Path | None, overrides: list[str]) -> "Recipe":
    """The recipe: the given one, else the run's, else what the checkpoint knows. Raises ConfigError."""
    from vidtok.configio import load_recipe, override, validate

    if config is not None or home is not None:
        recipe = load_recipe(config or str(home / "config.yaml" if home else ""), overrides)
    else:
        own = {"eval": model.eval_protocol.model_dump(mode="json"), "clip": model.preprocessing.model_dump(mode="json")}
        recipe = validate(override(own, overrides))
    for name, ours in model.preprocessing:
        if getattr(recipe.clip, name) != ours:
            note(f"warning: clip.{name}={getattr(recipe.clip, name)} has no effect, the checkpoint has {ours}")
    return recipe


def _with_flags(
    recipe: "Recipe",
    *,
    data: Text,
    root: Text,
    classes: Text,
    views: tuple[int, int] | None,
    budgets: tuple[Any, ...],
    workers: int | None,
) -> "Recipe":
    """Options of the command line over the recipe; another list does not inherit root and class names."""
    section: dict[str, Any] = {"test": data, "root": root, "classes": classes} if data else {}
    section |= {key: value for key, value in (("root", root), ("classes", classes)) if value}
    section |= {} if workers is None else {"workers": workers}
    protocol: dict[str, Any] = {} if views is None else {"clips": views[0], "crops": views[1]}
    protocol |= {"budgets": budgets} if budgets else {}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=section),
            "eval": recipe.eval.model_copy(update=protocol),
        }
    )


def _compute(recipe: "Recipe", device: Text, precision: str) -> "Compute":
    """Where and in which precision to score: the same rule as that of ``infer``. Raises ConfigError."""
    from vidtok.engine.predict import choose_compute

    compute = choose_compute(device or recipe.run.device, precision)
    if recipe.run.precision not in ("auto", compute.precision):
        trained = recipe.run.precision
        note(f"warning: run.precision={trained} is for training; scores are in {compute.precision}, see --precision")
    return compute


def _run(
    model: "VideoModel", recipe: "Recipe", *, source: str, compute: "Compute", out: str
) -> tuple[dict[str, Any], "Quarantine"]:
    """Evaluate and write the files. Returns (metrics, videos that failed)."""
    from vidtok.data.decode import DecodeLimits
    from vidtok.data.manifest import load_split
    from vidtok.engine.evaluate import Protocol, evaluate, find_pairs, quarantine_failures
    from vidtok.engine.report import write_report

    names = model.class_names
    data = recipe.data.model_copy(update={"multi_label": model.multi_label})
    manifest = load_split(data, "test", class_names=names, num_classes=None if names else model.num_classes)
    protocol = Protocol(**recipe.eval.model_dump(exclude={"budgets"}))
    with progress("videos") as show:
        result = evaluate(
            model.to(compute.device),
            manifest,
            compute=compute,
            protocol=protocol,
            budgets=recipe.eval.budgets,
            decoder=recipe.data.decoder,
            limits=DecodeLimits.of(recipe.data),
            workers=recipe.data.workers,
            pairs=find_pairs(manifest.source),
            shuffle_seed=recipe.run.seed if recipe.augment.shuffle else None,
            seed=recipe.run.seed,
            checkpoint=source,
            on_video=show,
        )
    for error in filter(None, result.errors):
        note(f"failed: {error}")
    found = write_report(result, out)
    return found, quarantine_failures(result, out, max_failures=recipe.data.max_failures)


def _summary(found: dict[str, Any], folder: str) -> str:
    """The table for people; shares as per cent with one standard error."""
    videos, protocol = found["videos"], found["protocol"]
    counts = (
        f"{videos['scored']} of {counted(videos['listed'], 'video')} scored, {videos['failed']} failed, "
        f"{videos['missing']} missing; {found['average']} of {protocol} views averaged"
    )
    lines = [counts, *_table(found, protocol)]
    if "map" in found:
        return "\n".join([*lines, f"results: {folder}"])
    largest = found["majority"]
    lines.append(
        f"always answering '{printable(largest['class'])}', the largest class, has top-1 {100 * largest['share']:.1f} %"
    )
    lines += [f"note: {printable(line)}" for line in found["findings"]]
    return "\n".join([*lines, f"report: {Path(folder) / 'report.html'}"])


def _table(found: dict[str, Any], protocol: str) -> list[str]:
    """A line of titles and one for each budget."""
    titles = {
        "map": f"test/map@{protocol}",
        "top1": f"test/top1@{protocol}",
        "mean_class_top1": "mean class",
        "top5": f"test/top5@{protocol}",
        "pair_top1": "within pairs",
    }
    wanted = [key for key in titles if key in found and not (key == "top5" and found["classes"] <= 5)]

    def cell(row: dict[str, Any], key: str) -> str:
        error = f" +- {100 * row['top1_se']:.1f}" if key == "top1" else ""
        return f"{100 * row[key]:.1f}{error} %"

    head = [f"{'budget':>10}", *(f"{titles[key]:>16}" for key in wanted), f"{'GMACs/view':>10}"]
    rows = [
        [f"{row['budget']:>10}", *(f"{cell(row, key):>16}" for key in wanted), f"{row['gmacs_per_view']:>10.4g}"]
        for row in found["budgets"]
    ]
    return ["  ".join(line) for line in (head, *rows)]
