"""Recipes: YAML in, validated frozen config out. Imports no torch."""

import difflib
import re
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from vidtok.config import Recipe, parse_backbone, parse_compressor
from vidtok.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: only true and false are booleans and 3e-4 is a number.

    PyYAML follows YAML 1.1, where ``no`` is a boolean and ``3e-4`` a string.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":bool", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), "-+0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    "-+0123456789.",
)


def parse_yaml(text: str, where: str) -> Any:
    """Parse one YAML document. Raises ConfigError with file and line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def packaged_configs() -> Path:
    """The folder of packaged recipes: inside the package, else in the repository root (editable installs)."""
    inside = Path(str(resources.files("vidtok"))) / "configs"
    return inside if inside.is_dir() else inside.parent.parent / "configs"


def list_recipes() -> list[str]:
    """Names of the packaged recipes, without the parts that they include."""
    return sorted(path.name for path in packaged_configs().glob("*.yaml"))


def find_recipe(name: str) -> Path:
    """Find ``--config NAME``: a path, else the packaged recipe of that name. Raises ConfigError."""
    file_name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    for path in (Path(name), Path(file_name), packaged_configs() / file_name):
        if path.is_file():
            return path
    near = _nearest(Path(file_name).name, list_recipes())
    raise ConfigError(f"recipe '{name}' not found{near}; packaged recipes: {', '.join(list_recipes())}")


def load_recipe(name: str, overrides: tuple[str, ...] | list[str] = ()) -> Recipe:
    """Resolve a recipe: its includes left to right, its own keys, then ``a.b=c`` overrides.

    Raises:
        ConfigError: absent file, unknown key (with the nearest valid one), wrong value, bad override.
    """
    path = find_recipe(name)
    merged = merge({"name": path.stem}, read_tree(path))
    return validate(reduce(merge, map(parse_override, overrides), merged))


def read_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file and merge what it includes. Paths are relative to the file, else to the packaged folder."""
    own = parse_yaml(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of sections, this file holds a {type(own).__name__}")
    names = own.pop("include", [])
    parts = [read_tree(_find_part(name, path)) for name in ([names] if isinstance(names, str) else names)]
    return reduce(merge, [*parts, own], {})


def _find_part(name: str, included_by: Path) -> Path:
    file_name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    for folder in (included_by.parent, packaged_configs()):
        if (folder / file_name).is_file():
            return folder / file_name
    raise ConfigError(f"{included_by}: include '{name}' not found beside it or in {packaged_configs()}")


def merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Merge ``extra`` over ``base``: mappings recursively, everything else replaced.

    A mapping whose ``kind`` changes replaces the old one: its other keys belong to another class. A
    backbone or compressor given by name takes further keys like its mapping. A backbone's name says every
    size, so it replaces what was there.
    """
    out = dict(base)
    for key, value in extra.items():
        old, new = (_SPELLED_OUT[key](item) if key in _SPELLED_OUT and isinstance(item, str) else item
                    for item in (out.get(key), value))  # fmt: skip
        is_whole = key == "backbone" and isinstance(value, str)
        same_kind = (
            isinstance(old, dict) and isinstance(new, dict) and new.get("kind", old.get("kind")) == old.get("kind")
        )
        out[key] = merge(old, new) if same_kind and not is_whole else value
    return out


_SPELLED_OUT: dict[str, Callable[[Any], Any]] = {"backbone": parse_backbone, "compressor": parse_compressor}


def parse_override(text: str) -> dict[str, Any]:
    """``train.lr=3e-4`` -> {"train": {"lr": 0.0003}}. Raises ConfigError."""
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)*", key):
        raise ConfigError(f"override '{text}' is not of the form section.key=value, for example train.lr=3e-4")
    tree: Any = parse_yaml(value, f"override '{text}'")
    for part in reversed(key.split(".")):
        tree = {part: tree}
    return tree


def validate(tree: dict[str, Any]) -> Recipe:
    """Check a merged tree against the schema. Raises ConfigError naming the first bad key."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, tree)) from None


def _explain(error: ValidationError, tree: dict[str, Any]) -> str:
    problem = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    path, names = _walk(problem["loc"], tree)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{'.'.join(path)}'{_nearest(path[-1], names)}"
    if problem["type"] == "union_tag_invalid":
        kinds, tag = problem["ctx"]["expected_tags"].replace("'", ""), problem["ctx"]["tag"]
        return f"{'.'.join(path)}: unknown kind '{tag}'{_nearest(tag, kinds.split(', '))}; known: {kinds}"
    cause = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f" (got {problem['input']!r})"  # a whole section says nothing
    return f"{'.'.join(path)}: {cause}{got}"


def _walk(loc: tuple[int | str, ...], tree: Any) -> tuple[list[str], list[str]]:
    """Follow an error's location through the schema; drop union tags. Returns (dotted path, sibling keys)."""
    path: list[str] = []
    model: Any = Recipe
    for part in loc:
        fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
        if part in fields or not path or not isinstance(part, str) or model is None:
            path.append(str(part))
            model = fields[part].annotation if part in fields else None
        else:
            chosen = next((kind for kind in _members(model) if kind.model_fields["kind"].default == part), None)
            if chosen is None:
                path.append(part)
            model = chosen or model
    owner = _owner(loc)
    return path, list(owner.model_fields) if owner else []


def _members(annotation: Any) -> list[type[BaseModel]]:
    """The config classes of a discriminated union, [] for anything else."""
    args = getattr(annotation, "__args__", ())
    return [arg for arg in args if isinstance(arg, type) and issubclass(arg, BaseModel)]


def _owner(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section that the last part of an error's location belongs to."""
    model: Any = Recipe
    for part in loc[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        else:
            model = next((kind for kind in _members(model) if kind.model_fields["kind"].default == part), None)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _nearest(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(dotted key, value in one, value in two) of every key in which two dumped recipes differ; None where absent."""
    first, second = dict(_leaves(one)), dict(_leaves(two))
    keys = sorted(first.keys() | second.keys())
    return [(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def dump(config: BaseModel) -> str:
    """YAML text of a resolved config; ``load_recipe`` reads it back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)
