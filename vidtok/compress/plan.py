"""What a compressor supplies: a plan, that is the list of modules of one encoder.

A compressor is one file here, one config class, one line in ``PLANS``, one row of ``SUPPORT`` and one YAML file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import nn

from vidtok.config import Budget, brief, parse_budget
from vidtok.errors import ConfigError
from vidtok.nn.attention import Attention
from vidtok.nn.blocks import Block, Reducer
from vidtok.nn.tokens import TokenGrid, TokenModule

Role = Literal["spatial", "joint", "divided"]


@dataclass(frozen=True)
class LayerFactory:
    """Makes layer ``i`` of one encoder; supplied by the backbone."""

    depth: int
    dim: int
    num_heads: int
    grid: TokenGrid
    role: Role
    """What the encoder's attention spans: one time step (spatial), all of them (joint), both in turn (divided)."""
    mlp_ratio: float
    gelu: Literal["tanh", "erf"]
    norm_eps: float
    drop_path: float
    pool: Literal["cls", "mean", "mean_with_cls"] = "cls"
    """What the backbone's head reads when nothing is compressed."""
    make_attn: Callable[..., nn.Module] = Attention
    """Called as ``Attention`` is."""
    make_block: Callable[..., Block] = Block
    """Called as ``Block`` is."""

    @property
    def num_prefix(self) -> int:
        """Prefix tokens of the backbone when nothing is compressed."""
        return 0 if self.pool == "mean" else 1

    def layers(self, numbers: tuple[int, ...]) -> frozenset[int]:
        """Layers counted from 1, as a recipe names them, counted from 0. Raises ConfigError for none or a wrong one."""
        if not numbers:
            raise ConfigError("model.compressor.layers is empty: name a layer, leave it out, or use compressor 'none'")
        wrong = [number for number in numbers if not 1 <= number <= self.depth]
        if wrong:
            raise ConfigError(
                f"model.compressor.layers: {wrong[0]} is not one of the encoder's layers 1 to {self.depth}"
            )
        return frozenset(number - 1 for number in numbers)

    def block(self, layer: int, *, attn: nn.Module | None = None, reducer: Reducer | None = None) -> Block:
        """Layer ``layer`` (from 0), with another attention or a reducer if given."""
        return self.make_block(
            self.dim,
            attn=attn if attn is not None else self.make_attn(self.dim, num_heads=self.num_heads),
            mlp_hidden=round(self.dim * self.mlp_ratio),
            gelu=self.gelu,
            norm_eps=self.norm_eps,
            drop_path=self.drop_path * layer / max(self.depth - 1, 1),
            reducer=reducer,
        )


@dataclass(frozen=True)
class EncoderPlan:
    modules: list[TokenModule]
    num_prefix: int
    readout: Literal["cls", "mean", "lookup"]
    """cls: first token; mean: mean of patch tokens; lookup: mean of each of the two streams."""
    loss_weights: tuple[float, ...] = (1.0,)
    """Weight of each read-out's head in training."""
    eval_head: Literal["auto", "compressed", "lookup", "mean"] = "auto"


def read_budget(value: Any) -> Budget:
    """A budget as the API or the command line spells it. Raises ConfigError for what is no grid and no number."""
    budget = parse_budget(value)
    sides = budget if isinstance(budget, tuple) else (1,)
    is_number = isinstance(budget, tuple | float | int) and not isinstance(budget, bool)
    if not is_number or any(type(side) is not int for side in sides):
        raise ConfigError(
            f"budget {brief(value)} is neither a grid of whole numbers, such as (5, 5), nor a keep rate, such as 0.7"
        )
    return budget


@runtime_checkable
class Budgeted(Protocol):
    """A module whose token count can change without touching a parameter."""

    budget: Any

    def set_budget(self, budget: Budget) -> None:
        """Raises ConfigError when the value is not one that this module takes."""
        ...


@runtime_checkable
class WarmStarted(Protocol):
    """A module with parts of its own that can begin from the weights of the block that it holds."""

    def warm_start(self) -> dict[str, str]:
        """Begin so; the names of those submodules, and how each began."""
        ...


Plan = Callable[[LayerFactory, Any], EncoderPlan]


def plan_none(factory: LayerFactory, config: object) -> EncoderPlan:
    """The backbone as it is."""
    blocks: list[TokenModule] = [factory.block(layer) for layer in range(factory.depth)]
    return EncoderPlan(blocks, factory.num_prefix, "cls" if factory.pool == "cls" else "mean")
