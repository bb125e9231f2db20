"""What all sections share: frozen, strict, and the spelling of budgets."""

import os
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vidtok.config.explain import brief, explain
from vidtok.errors import ConfigError

Budget = float | tuple[int, int] | tuple[int, int, int]

SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )


def from_tree(schema: type[SectionT], tree: Any) -> SectionT:
    """Validate one section given in code. Raises ConfigError with the first problem."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, schema)) from None


def inside_validation(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``parse`` as pydantic wants it: a ConfigError becomes a ValueError, so that the message names the key."""

    def parsed(value: Any) -> Any:
        try:
            return parse(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    return parsed


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


def parse_grid(value: Any) -> Any:
    """The same for budgets that are grids. Raises ConfigError for any other."""
    grid = parse_budget(value)
    if not (isinstance(grid, tuple) and len(grid) in (2, 3)):
        raise ConfigError("must be a grid like 5x5 or 8x5x5")
    return grid


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


BudgetField = Annotated[Budget, BeforeValidator(inside_validation(parse_budget))]
Side = Annotated[int, Field(le=1024)]
GridField = Annotated[tuple[Side, Side] | tuple[Side, Side, Side], BeforeValidator(inside_validation(parse_grid))]
PathField = Annotated[str, AfterValidator(os.path.expanduser)]
"""A path, or what may stand for one; ``~`` is the home folder."""
