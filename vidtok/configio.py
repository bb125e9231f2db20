"""Recipes: YAML in, validated frozen config out. Imports no torch."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from vidtok.config import Recipe, from_tree, parse_backbone, parse_compressor
from vidtok.config.explain import takes_text
from vidtok.errors import ConfigError, did_you_mean


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: only true and false are booleans and 3e-4 is a number.

    PyYAML follows YAML 1.1, where ``no`` is a boolean, ``3e-4`` a string and ``010`` eight. What has a leading zero is
    text here, such as the name of a folder; a setting that wants a number reads it as a decimal one.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":bool", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,99})$"), "-+0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    "-+0123456789.",
)


CONFIG_FILE = "config.yaml"
"""The resolved recipe in a run folder."""


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
    """Find ``--config NAME``: a path or a run folder, else the packaged recipe of that name. Raises ConfigError."""
    file_name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    for path in (Path(name), Path(file_name), Path(name) / CONFIG_FILE, packaged_configs() / file_name):
        if path.is_file():
            return path
    near = did_you_mean(Path(file_name).name, list_recipes())
    raise ConfigError(f"recipe '{name}' not found{near}; packaged recipes: {', '.join(list_recipes())}")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Resolve a recipe: its includes left to right, its own keys, then ``a.b=c`` overrides.

    Raises:
        ConfigError: absent file, unknown key (with the nearest valid one), wrong value, bad override.
    """
    path = find_recipe(name)
    return validate(override({"name": path.stem} | read_tree(path), overrides))


def override(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A recipe's tree with ``a.b=c`` overrides, whose order does not matter: what holds others comes before them.

    Of two values for the same key the later one counts. Raises ConfigError.
    """
    return overlay(tree, [parse_override(text) for text in sorted(overrides, key=_rank)])


def _rank(text: str) -> int:
    """``model.compressor`` and ``model.compressor.kind``, which say what it is, before ``model.compressor.budget``."""
    key = text.partition("=")[0]
    return key.removesuffix(".kind").count(".")


def read_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file and merge what it includes. Paths are relative to the file, else to the packaged folder."""
    own = parse_yaml(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of sections, this file holds a {type(own).__name__}")
    names = own.pop("include", [])
    parts = [read_tree(_find_part(name, path)) for name in ([names] if isinstance(names, str) else names)]
    return reduce(lambda base, layer: overlay(base, [layer]), [*parts, own], {})


_BUDGET_KEYS = {"train": ("budget_set", "shrink_start_epoch", "shrink_epochs"), "eval": ("budgets",)}
"""Settings that say something about the budget of one compressor, and nothing about another's."""


def overlay(base: dict[str, Any], layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge layers over a base; where they change the compressor, the budgets in the base go with the old one."""
    merged = reduce(merge, layers, base)
    if _compressor(base) in (None, _compressor(merged)):
        return merged
    rest = {key: {name: item for name, item in value.items() if name not in _BUDGET_KEYS[key]}
            if key in _BUDGET_KEYS and isinstance(value, dict) else value for key, value in base.items()}  # fmt: skip
    return reduce(merge, layers, rest)


def _compressor(tree: dict[str, Any]) -> Any:
    """Kind of the compressor that a tree names, None when it names none."""
    model = tree.get("model")
    compressor = parse_compressor(model.get("compressor")) if isinstance(model, dict) else None
    return compressor.get("kind") if isinstance(compressor, dict) else None


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
    """``train.lr=3e-4`` -> {"train": {"lr": 0.0003}}; free text, such as a path, is as it is. Raises ConfigError."""
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)*", key):
        raise ConfigError(f"override '{text}' is not of the form section.key=value, for example train.lr=3e-4")
    is_literal = value not in _NOTHING and not _QUOTED.fullmatch(value) and takes_text(Recipe, key)
    tree: Any = value if is_literal else parse_yaml(value, f"override '{text}'")
    for part in reversed(key.split(".")):
        tree = {part: tree}
    return tree


_NOTHING = ("", "~", "null", "Null", "NULL")
_QUOTED = re.compile(r"""(["']).*\1""")


def validate(tree: dict[str, Any]) -> Recipe:
    """Check a merged tree against the schema. Raises ConfigError naming the first bad key."""
    return from_tree(Recipe, tree)


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
