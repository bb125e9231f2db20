"""Training, testing and the whole recipe."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from vidtok.config.base import BudgetField, PathField, Section
from vidtok.config.data import AugmentConfig, ClipConfig, DataConfig
from vidtok.config.model import ModelConfig


class TrainConfig(Section):
    epochs: int = Field(30, ge=1, description="passes over the training list")
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimiser steps, whichever is first")
    batch_size: int = Field(8, ge=1, description="clips per device and forward pass")
    repeated_aug: int = Field(
        1, ge=1, description="differently augmented clips from one decoded video; batch_size counts all of them"
    )
    effective_batch: int | None = Field(
        None, ge=1, description="clips per optimiser step over all devices; reached by accumulation"
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="adamw or sgd with momentum")
    lr: float = Field(5e-4, gt=0, description="peak learning rate at the effective batch, not rescaled")
    min_lr: float = Field(1e-6, ge=0, description="learning rate at the end of the cosine")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd, beta1 of adamw")
    beta2: float = Field(
        0.999, ge=0, lt=1, description="beta2 of adamw; 0.95 follows gradients whose size changes (MAE)"
    )
    weight_decay: float = Field(0.05, ge=0, description="decoupled decay; none on biases, norms, cls and positions")
    warmup_epochs: float = Field(2.5, ge=0, description="linear warm-up [epochs]")
    smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing")
    clip_grad: float | None = Field(1.0, gt=0, description="largest gradient norm; empty: no clipping")
    grad_checkpointing: bool = Field(False, description="recompute activations in backward to save memory")
    budget_set: tuple[BudgetField, ...] = Field(
        (), description="budgets of elastic training: one is drawn per step, so one checkpoint serves all"
    )
    shrink_start_epoch: float = Field(0.0, ge=0, description="epochs at keep rate 1 before it falls (EViT: 10 of 300)")
    shrink_epochs: float = Field(
        0.0, ge=0, description="epochs in which the keep rate falls by a cosine to the budget (EViT: 100 of 300)"
    )
    val_every: int = Field(1, ge=1, description="validate every this many epochs")
    checkpoint_every: int = Field(500, ge=1, description="write last.ckpt every this many steps")
    checkpoint_minutes: float = Field(15.0, gt=0, description="write last.ckpt also when it is this old [minutes]")
    log_every: int = Field(10, ge=1, description="log every this many steps")

    @model_validator(mode="after")
    def _batch_holds_whole_videos(self) -> "TrainConfig":
        if self.batch_size % self.repeated_aug:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of repeated_aug {self.repeated_aug}")
        return self


class EvalConfig(Section):
    clips: int = Field(4, ge=1, le=1000, description="temporal clips per video")
    crops: Literal[1, 3] = Field(3, description="spatial crops per clip")
    average: Literal["logits", "probs"] = Field("logits", description="what is averaged over views")
    budgets: tuple[BudgetField, ...] = Field((), description="budgets to evaluate; empty: the model's own")
    batch_size: int = Field(16, ge=1, le=65_536, description="views per forward pass")


class RunConfig(Section):
    seed: int = Field(0, ge=0, description="seed of weights, data order and augmentation")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 mixed on a GPU that has it, fp32 on the CPU"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda when there is one")
    devices: int = Field(1, ge=1, description="devices per node")
    nodes: int = Field(1, ge=1, description="number of nodes")
    compile: bool = Field(False, description="torch.compile the model")
    output_dir: PathField = Field("runs", description="folder that holds run folders")


class LoggerConfig(Section):
    csv: bool = Field(True, description="write metrics.csv")
    tensorboard: bool = Field(True, description="write TensorBoard events")


class Recipe(Section):
    """One complete, resolved configuration."""

    name: str = Field("custom", description="name of the run's folder; default: the recipe file's name")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    run: RunConfig = RunConfig()
    logger: LoggerConfig = LoggerConfig()

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, value: str) -> str:
        if value in ("", ".", "..") or set(value) & set("/\\\0\n"):
            raise ValueError("must be the name of a folder, without slashes")
        return value
