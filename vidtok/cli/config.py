"""``vidtok config``: print a recipe with every key, explain a key, compare two recipes."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
import yaml
from pydantic import BaseModel

from vidtok.config import Recipe
from vidtok.configio import differences, list_recipes, load_recipe, validate
from vidtok.errors import ConfigError

app = typer.Typer(help="Recipes: show, explain, diff, list.", no_args_is_help=True)
RecipeOption = Annotated[
    str | None, typer.Option("--config", "-c", help="recipe: a path, a run folder or a packaged name")
]
Overrides = Annotated[list[str] | None, typer.Argument(help="overrides such as train.lr=3e-4", show_default=False)]


@app.command()
def show(config: RecipeOption = None, overrides: Overrides = None) -> None:
    """Print the resolved recipe: every key with its value, meaning and unit. The output is a valid recipe."""
    recipe = load_recipe(config, overrides or []) if config else validate({})
    print("\n".join(_annotated(recipe)))


def _annotated(section: BaseModel, depth: int = 0) -> Iterator[str]:
    """YAML lines of a section, each with its description as a comment."""
    pad = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:"
            yield from _annotated(value, depth + 1)
        else:
            text = f"{pad}{name}: {_inline(section.model_dump(mode='json')[name])}"
            yield f"{text:<48}# {field.description}" if field.description else text


def _inline(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


@app.command()
def explain(key: Annotated[str, typer.Argument(help="dotted key, such as train.lr")]) -> None:
    """Say what a key means, its default and its type, for every kind of backbone or compressor that has it."""
    found: dict[str, list[str]] = {}
    for path, kind, field in _fields(Recipe):
        if key in (path, path.rpartition(".")[2]):
            type_name = getattr(field.annotation, "__name__", str(field.annotation)).replace("typing.", "")
            text = f"{path}: {field.description}\n  default: {field.get_default()}\n  type: {type_name}"
            found.setdefault(text, []).append(kind)
    for text, kinds in found.items():
        print(text + (f"\n  of: {', '.join(kinds)}" if all(kinds) else ""))
    if found:
        return
    validate({key.split(".")[0]: _nested(key.split(".")[1:])})
    raise ConfigError(f"no key '{key}'; `vidtok config show` lists all")


def _nested(parts: list[str]) -> Any:
    return {parts[0]: _nested(parts[1:])} if parts else {}


def _fields(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(dotted path, kind of its section or nothing, field) of every leaf, through unions too."""
    own_kind = schema.model_fields["kind"].default if "kind" in schema.model_fields else ""
    for name, field in schema.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            yield f"{prefix}{name}", own_kind, field
        for section in sections:
            yield from _fields(section, f"{prefix}{name}.")


@app.command()
def diff(first: str, second: str) -> None:
    """Print the keys in which two recipes, or the recipes of two run folders, differ."""
    one, two = (load_recipe(name).model_dump(mode="json", exclude={"name"}) for name in (first, second))
    for key, before, after in differences(one, two):
        print(f"{key}: {_inline(before)} -> {_inline(after)}")


@app.command("list")
def list_() -> None:
    """Print the names of the packaged recipes."""
    print("\n".join(list_recipes()))
