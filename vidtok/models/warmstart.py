"""Giving a trained dense model a compressor: block weights are reused, what is new starts so that little changes."""

from typing import NamedTuple

import torch

from vidtok.compress.plan import WarmStarted
from vidtok.config import Budget, CompressorUnion, ModelConfig, from_tree
from vidtok.errors import ConfigError
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model, with_budget
from vidtok.models.pretrained.report import ConversionReport
from vidtok.nn.blocks import Block


class WarmStart(NamedTuple):
    """A compressed model, and what became of every tensor."""

    model: VideoModel
    report: ConversionReport


def compress_model(
    model: VideoModel, compressor: str | CompressorUnion, *, budget: Budget | str | None = None
) -> WarmStart:
    """Give ``model`` a compressor.

    EViT, random dropping, merging and super tokens reuse every weight as it is; at the full budget the first three give
    the dense model's logits. Semantic tokens and LookupViT have no cls token and read the mean. LookupViT's gather
    takes over the maps of the block's attention (with ``norm: before`` its norm too, and then is that attention) and
    its infusion starts as nothing; both of its heads start as the model's head.

    Args:
        model: a dense model, or one whose compressor has no weights of its own. It is not changed.
        compressor: name or config. With the name of the compressor that ``model`` has, only the budget is set.
        budget: token budget; when not given, ``model``'s own if it has that compressor, else the compressor's default.

    Raises:
        ConfigError: a refused pair, a budget that does not fit, a model that has another compressor's weights.
    """
    wanted = from_tree(ModelConfig, model.config.model_dump() | {"compressor": compressor})
    is_own = isinstance(compressor, str) and compressor == model.config.compressor.kind
    if is_own:
        wanted, budget = model.config, model.budget if budget is None else budget
    if budget is not None:
        wanted = with_budget(wanted, budget, keep=is_own or not isinstance(compressor, str))
    target = build_model(wanted, model.preprocessing, num_classes=model.num_classes, eval_protocol=model.eval_protocol)
    report = _fill(target, model)
    target.class_names, target.multi_label = model.class_names, model.multi_label
    return WarmStart(target.train(model.training), report)


@torch.no_grad()
def _fill(target: VideoModel, dense: VideoModel) -> ConversionReport:
    """Copy weights into ``target``. Raises ConfigError when ``dense`` has weights that only its compressor knows."""
    theirs = dense.state_dict()
    same = theirs.keys() == target.state_dict().keys()
    origins = {name: name for name in theirs} if same else _origins(target, dense)
    loaded: dict[str, tuple[str, ...]] = {}
    adapted, new, weights = {}, {}, {}
    for name, value in target.state_dict().items():
        found = theirs.get(origins[name])
        if found is None:
            new[name] = "as in a new model"
        elif found.shape == value.shape:
            weights[name], loaded[name] = found, (origins[name],)
        else:  # a position table of fewer rows
            weights[name], adapted[name] = found[:, -value.shape[1] :], "without the row of the cls token"
    unused = {name: "no cls token" for name in theirs.keys() - set(origins.values()) if name.endswith(".cls_token")}
    left = theirs.keys() - set(origins.values()) - unused.keys()
    if left:
        raise ConfigError(
            f"compressor '{target.config.compressor.kind}' cannot start from a model with compressor "
            f"'{dense.config.compressor.kind}', which has weights of its own; start from a dense model"
        )
    target.load_state_dict(weights, strict=False)
    for name, how in ({} if same else _start_new_parts(target)).items():
        new.pop(name, None)
        adapted[name] = how
    titles = [f"{model.config.backbone.kind} + {model.config.compressor.kind}" for model in (dense, target)]
    return ConversionReport(titles[0], "vidtok", titles[1], loaded, adapted, new, unused)


def _origins(target: VideoModel, dense: VideoModel) -> dict[str, str]:
    """For every name of ``target`` the name in ``dense`` that it would come from; blocks correspond in their order."""
    pairs = list(zip(_blocks(target), _blocks(dense), strict=True))
    theirs_by_plain_name = {_plain(name): name for name in dense.state_dict()}
    origins = {}
    for name in target.state_dict():
        origin = name.replace("lookup_head.", "head.").replace("lookup_norm.", "norm.")
        for ours, theirs in pairs:
            if name.startswith(ours):
                origin = theirs + name.removeprefix(ours)
        origins[name] = theirs_by_plain_name.get(_plain(origin), origin)
    return origins


def _plain(name: str) -> str:
    """The name without what super tokens put around a block's attention."""
    return name.replace(".attn.attn.", ".attn.")


def _blocks(model: VideoModel) -> list[str]:
    """Name prefixes of the backbone's blocks, wherever the compressor has put them."""
    return [f"encoder.{name}." for name, module in model.encoder.named_modules() if isinstance(module, Block)]


def _start_new_parts(target: VideoModel) -> dict[str, str]:
    """Let modules that can begin from their block do so; every parameter's name and how it began."""
    started = {}
    for name, module in target.named_modules():
        if isinstance(module, WarmStarted):
            for part, how in module.warm_start().items():
                started |= {f"{name}.{part}.{leaf}": how for leaf in module.get_submodule(part).state_dict()}
    return started
