"""What all sections share: frozen, strict, and the spelling of budgets."""

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vidtok.errors import ConfigError

Budget = float | tuple[int, int] | tuple[int, int, int]

SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def from_tree(schema: type[SectionT], tree: dict[str, Any]) -> SectionT:
    """Validate one section given in code. Raises ConfigError with the first problem."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "union_tag_invalid":
            tag, known = first["ctx"]["tag"], first["ctx"]["expected_tags"]
            raise ConfigError(f"{where}: '{tag}' is unknown; choose one of {known}") from None
        raise ConfigError(f"{where}: {first['msg']} (got {first['input']!r})") from None


def parse_budget(value: Any) -> Any:
    """Turn the command-line spelling of a budget into its API value: ``5x5`` -> (5, 5), ``0.7`` -> 0.7."""
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"\d+(x\d+){1,2}", text):
            return tuple(int(part) for part in text.split("x"))
        try:
            return float(text)
        except ValueError:
            raise ConfigError(
                f"budget '{value}' is neither a grid like 5x5 or 8x5x5 nor a keep rate like 0.7"
            ) from None
    return tuple(value) if isinstance(value, list) else value


def format_budget(budget: Budget | None) -> str:
    """The command-line spelling of a budget: (5, 5) -> ``5x5``; None -> ``-``."""
    if budget is None:
        return "-"
    return "x".join(map(str, budget)) if isinstance(budget, tuple) else f"{budget:g}"


BudgetField = Annotated[Budget, BeforeValidator(parse_budget)]
GridField = Annotated[tuple[int, int] | tuple[int, int, int], BeforeValidator(parse_budget)]
