"""What all sections share: frozen, strict, and the spelling of budgets."""

import re
from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vidtok.errors import ConfigError

Budget = float | tuple[int, int] | tuple[int, int, int]

SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys, and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def from_tree(schema: type[SectionT], tree: dict[str, Any]) -> SectionT:
    """Validate one section given in code. Raises ConfigError with the first problem."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first thing that a schema refused, as one line."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "union_tag_invalid":
        tag, known = first["ctx"]["tag"], first["ctx"]["expected_tags"]
        return f"{where}: {brief(tag)} is unknown; choose one of {known}"
    return f"{where}: {first['msg']} (got {brief(first['input'])})"


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


def parse_budget(value: Any) -> Any:
    """Turn the command-line spelling of a budget into its API value: ``5x5`` -> (5, 5), ``0.7`` -> 0.7."""
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){1,2}", text):
            return tuple(int(part) for part in text.split("x"))
        try:
            return float(text)
        except ValueError:
            raise ConfigError(
                f"budget {brief(value)} is neither a grid like 5x5 or 8x5x5 nor a keep rate like 0.7"
            ) from None
    return tuple(value) if isinstance(value, list) else value


def format_budget(budget: Budget | None) -> str:
    """The command-line spelling of a budget, which ``parse_budget`` reads back equal: (5, 5) -> ``5x5``, 0.7, 1.

    A keep rate takes as many digits as it needs, such as 0.6666666666666666. None -> ``-``.
    """
    if budget is None:
        return "-"
    if isinstance(budget, tuple):
        return "x".join(map(str, budget))
    short = f"{budget:g}"
    return short if float(short) == budget else repr(budget)


BudgetField = Annotated[Budget, BeforeValidator(parse_budget)]
Side = Annotated[int, Field(le=1024)]
GridField = Annotated[tuple[Side, Side] | tuple[Side, Side, Side], BeforeValidator(parse_budget)]
