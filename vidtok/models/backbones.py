"""Backbones: how tubelet tokens are arranged into encoders. They differ only in that.

Every model maps a clip [B, 3, T, H, W] (float, normalised) to logits [B, num_classes].
Shapes: B batch, t time steps, S = h w patches per time step, D width, R heads (1, or 2 with LookupViT).
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vidtok.config import Budget, ClipConfig, EvalConfig, ModelConfig
from vidtok.models.clip_check import check_clip, check_range
from vidtok.models.encoder import Encoder
from vidtok.nn.embed import Positions, SinCosPositions, TubeletEmbed
from vidtok.nn.tokens import block_diagonal

TokenCount = int | tuple[int, int]


class VideoModel(nn.Module):
    """Embedding, encoder and heads; a subclass says how the encoder sees time (``readouts``).

    ``config``, ``preprocessing``, ``eval_protocol``, ``class_names`` and ``multi_label`` travel with the weights;
    ``build`` sets the first three. A multi-label model's scores are sigmoids, each class for itself.
    """

    config: ModelConfig
    preprocessing: ClipConfig
    eval_protocol: EvalConfig
    class_names: tuple[str, ...] | None = None
    multi_label: bool = False
    default_eval_head: Literal["compressed", "mean"] = "mean"

    def __init__(
        self,
        *,
        embed: TubeletEmbed,
        positions: Positions | SinCosPositions,
        encoder: Encoder,
        dim: int,
        num_classes: int,
        loss_weights: tuple[float, ...],
        eval_head: Literal["auto", "compressed", "lookup", "mean"],
        lattice: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.patch_embed = embed
        self.positions = positions
        self.encoder = encoder
        self.loss_weights = loss_weights
        self.eval_head = self.default_eval_head if eval_head == "auto" else eval_head
        self.lattice, self.dim = lattice, dim
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """New heads for ``num_classes`` classes; class names are forgotten."""
        self.head = _new_head(self.dim, num_classes)
        self.lookup_head = _new_head(self.dim, num_classes) if len(self.loss_weights) == 2 else None
        self.class_names = None

    @property
    def num_classes(self) -> int:
        return self.head.out_features

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W): what a clip is, batch aside."""
        t, h, w = self.lattice
        return 3, t * self.patch_embed.tubelet, h * self.patch_embed.patch, w * self.patch_embed.patch

    @property
    def budget(self) -> Budget | None:
        return self.encoder.budget

    def set_budget(self, budget: Budget | str) -> None:
        """Change the token budget, such as ``(5, 5)``, ``"5x5"`` or 0.7; no parameter changes.

        Raises ConfigError, and changes nothing, when it is not one that the compressor takes.
        """
        self.encoder.set_budget(budget)

    @property
    def token_counts(self) -> list[TokenCount]:
        """Patch tokens per clip after each layer; (compressed, lookup) with LookupViT."""
        steps = self._encoder_runs
        counts = [grid.num_tokens * steps for grid in self.encoder.layer_grids]
        if self.encoder.readout != "lookup":
            return list(counts)
        return [(count, self.encoder.grid.num_tokens * steps) for count in counts]

    @property
    def _encoder_runs(self) -> int:
        """How often the encoder runs per clip: once per time step, or once."""
        return self.lattice[0] // (self.encoder.grid.t or 1)

    def set_grad_checkpointing(self, enabled: bool = True) -> None:
        """Recompute each block's activations in the backward pass."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.grad_checkpointing = enabled

    def embed(self, clip: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> what the encoder sees: [B, P + t S, D], or [B t, P + S, D] when it runs per time step.

        Raises DataError for anything but a float clip of the model's own length and size.
        """
        check_clip(clip, self.clip_shape, self.patch_embed.proj.weight.dtype)
        x = self.patch_embed(clip)  # [B, t, S, D]
        return self.positions(x.flatten(1, 2) if self._encoder_runs == 1 else x.flatten(0, 1))

    def split_steps(self, x: Tensor) -> Tensor:
        """[B t, ...] -> [B, t, ...]."""
        return x.unflatten(0, (-1, self.lattice[0]))

    def readouts(self, clip: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, T, H, W] -> R feature vectors [B, D], normalised and pooled."""
        raise NotImplementedError

    @torch.no_grad()
    def trace(self, clip: Tensor) -> list[Tensor]:
        """Which input patches each token stands for.

        Args:
            clip: [B, 3, T, H, W] float, normalised.

        Returns:
            For every layer the float weights [B, N, N_input] of the tubelets in the patch tokens after it, rows
            summing to 1, columns in (t, h, w) order. What is dropped has an empty column. Where attention decides,
            it is the mean of its heads: what compressed tokens gather in this layer (LookupViT), and what semantic
            tokens were made of (STViT). Super tokens stand for the layer's patch tokens, which all stay.
        """
        check_range(clip)
        sources = self.encoder.trace(self.embed(clip))  # each [B runs, M, S]
        return [block_diagonal(source, self._encoder_runs) for source in sources]

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors``, ``config.json`` and a model card; ready for the hub."""
        from vidtok.models.checkpoint import save_pretrained

        return save_pretrained(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> "VideoModel":
        """The same as ``vidtok.load``."""
        from vidtok.models.checkpoint import load

        return load(source)

    def forward_features(self, clip: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, D]: what the main head reads."""
        return self.readouts(clip)[0]

    def forward_heads(self, clip: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> logits of every head [R, B, num_classes]; training weighs them by ``loss_weights``."""
        main, *rest = self.readouts(clip)
        logits = [self.head(main)]
        if self.lookup_head is not None:
            logits.append(self.lookup_head(rest[0]))
        return torch.stack(logits)

    def answer(self, heads: Tensor) -> Tensor:
        """Logits of every head [R, B, num_classes] -> the answer [B, num_classes]."""
        if len(heads) == 1 or self.eval_head == "compressed":
            return heads[0]
        return heads[1] if self.eval_head == "lookup" else heads.mean(0)

    def forward(self, clip: Tensor) -> Tensor:
        """[B, 3, T, H, W] float normalised -> [B, num_classes]. Raises DataError for another clip."""
        return self.answer(self.forward_heads(clip))


def _new_head(dim: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(dim, num_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


class JointModel(VideoModel):
    """One encoder over all space-time tokens; its blocks say what attends to what.

    Plain blocks make ViViT model 1 (arXiv 2103.15691, section 3.3), joint TimeSformer and VideoMAE; axial ones
    ViViT model 4; divided ones ViViT model 3 and TimeSformer.
    """

    def readouts(self, clip: Tensor) -> tuple[Tensor, ...]:
        return self.encoder(self.embed(clip))


class PerFrameModel(VideoModel):
    """An image ViT on each time step; the mean over time of its features, hence of its logits."""

    def readouts(self, clip: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.split_steps(step).mean(1) for step in self.encoder(self.embed(clip)))


class SpaceOnlyModel(VideoModel):
    """Space-only TimeSformer (arXiv 2102.05095, section 3): as per frame, but averaged over time before the norm."""

    def readouts(self, clip: Tensor) -> tuple[Tensor, ...]:
        tokens = self.encoder.run(self.embed(clip))
        if tokens.grid.hw is None and self.encoder.readout == "mean":  # steps hold other sites: pool them one by one
            return tuple(self.split_steps(step).mean(1) for step in self.encoder.read(tokens))
        parts = {name: getattr(tokens, name) for name in ("x", "size", "lookup")}
        over_time = {name: None if part is None else self.split_steps(part).mean(1) for name, part in parts.items()}
        return self.encoder.read(replace(tokens, **over_time))


class FactorisedEncoderModel(VideoModel):
    """ViViT model 2: a spatial encoder per time step, then a temporal encoder over their read-outs.

    Source: arXiv 2103.15691, section 3.3; details from scenic's ViViT. With LookupViT the pooled compressed
    tokens feed the temporal encoder and the lookup stream, pooled over space and time, an auxiliary head.
    """

    default_eval_head = "compressed"

    def __init__(self, *, temporal_positions: Positions, temporal: Encoder, **parts: object) -> None:
        super().__init__(**parts)  # type: ignore[arg-type]
        self.temporal_positions = temporal_positions
        self.temporal = temporal

    def readouts(self, clip: Tensor) -> tuple[Tensor, ...]:
        main, *rest = map(self.split_steps, self.encoder(self.embed(clip)))
        (pooled,) = self.temporal(self.temporal_positions(main))
        return pooled, *(step.mean(1) for step in rest)
