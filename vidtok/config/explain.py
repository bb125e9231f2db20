"""What is wrong with a configuration, in one line: the same for recipes, checkpoints and calls from Python."""

from collections.abc import Iterator
from reprlib import Repr
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vidtok.errors import did_you_mean


def explain(error: ValidationError, schema: type[BaseModel] | None = None) -> str:
    """The first problem: its dotted key, what is wrong, the value and, for names, the nearest that exists."""
    problem = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    path, owner = _follow(problem["loc"], schema) if schema else (list(map(str, problem["loc"])), None)
    key, got = ".".join(path), problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'{did_you_mean(path[-1], list(owner.model_fields) if owner else [])}"
    if problem["type"] == "union_tag_invalid":
        kinds, tag = problem["ctx"]["expected_tags"].replace("'", ""), problem["ctx"]["tag"]
        return f"{key}: unknown kind {brief(tag)}{did_you_mean(tag, kinds.split(', '))}; known: {kinds}"
    cause = problem["msg"].removeprefix("Value error, ")
    if isinstance(got, dict | BaseModel):  # to print a whole section says nothing
        is_misplaced = isinstance(got, dict) and problem["type"] != "value_error"
        return f"{key + ': ' if key else ''}{cause}{' (got a mapping)' if is_misplaced else ''}"
    return f"{key}: {cause} (got {brief(got)}){_nearest_choice(problem)}"


class _Brief(Repr):
    """A value in few characters, however large or deep it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 60, 60

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 128 else f"a number of {x.bit_length()} bits"

    def repr_instance(self, x: object, level: int) -> str:
        return repr(x) if isinstance(x, float | bool | None) else f"a {type(x).__name__}"


brief = _Brief().repr
"""What an error message says of a value that may come from a stranger's file."""


def _nearest_choice(problem: Any) -> str:
    """For a wrong word where only certain words are allowed: the nearest of them."""
    if problem["type"] != "literal_error" or not isinstance(problem["input"], str):
        return ""
    choices = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    return did_you_mean(problem["input"], choices)


def takes_text(schema: type[BaseModel], key: str) -> bool:
    """Whether the setting with this dotted key holds free text, so that nothing in its value is syntax."""
    *_, name = key.split(".")
    _, owner = _follow(tuple(key.split(".")), schema)
    if owner is None or name not in owner.model_fields:
        return False
    return set(_alternatives(owner.model_fields[name].annotation)) <= {str, NoneType}


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types of a union, without what Annotated adds to them."""
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif args := (get_args(annotation) if NoneType in get_args(annotation) or _sections(annotation) else ()):
        for arg in args:
            yield from _alternatives(arg)
    else:
        yield annotation


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The config classes of an annotation: one, those of a union, or none."""
    return [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]


def _follow(loc: tuple[int | str, ...], schema: type[BaseModel]) -> tuple[list[str], type[BaseModel] | None]:
    """Follow a location through the schema: its dotted path without union tags, and the section that its end is in."""
    path: list[str] = []
    inside: list[type[BaseModel]] = [schema]
    owner: type[BaseModel] | None = None
    for part in loc:
        tagged = next((kind for kind in inside if len(inside) > 1 and _kind(kind) == part), None)
        if tagged is not None:
            inside = [tagged]
            continue
        if path and not inside and isinstance(part, str):  # which of the types of a setting was tried
            continue
        owner = next((kind for kind in inside if part in kind.model_fields), inside[0] if inside else None)
        field = owner.model_fields.get(str(part)) if owner else None
        path.append(str(part))
        inside = _sections(field.annotation) if field else []
    return path, owner


def _kind(section: type[BaseModel]) -> Any:
    return section.model_fields["kind"].default if "kind" in section.model_fields else None
