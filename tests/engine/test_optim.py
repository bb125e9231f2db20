import math

import pytest
import torch

from vidtok.config import TrainConfig
from vidtok.engine.optim import build_optimizer, build_schedule, lr_scale
from vidtok.models.build import create_model


def test_the_rate_rises_linearly_then_follows_a_cosine_to_the_floor():
    scale = [lr_scale(step, warmup_steps=4, total_steps=14, floor=0.1) for step in range(15)]
    assert scale[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert scale[9] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert scale[14] == pytest.approx(0.1)
    assert lr_scale(99, warmup_steps=4, total_steps=14, floor=0.1) == pytest.approx(0.1)


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert lr_scale(0, warmup_steps=0, total_steps=10, floor=0.0) == 1.0


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_vectors_and_tables_are_not_decayed_and_every_parameter_is_in_one_group(optimizer):
    model = create_model("vivit_fe_ti_16x2", image_size=32, num_frames=4, num_classes=3)
    config = TrainConfig(optimizer=optimizer, weight_decay=0.3, lr=0.1, warmup_epochs=0)
    built = build_optimizer(model, config)
    decay = {id(p): group["weight_decay"] for group in built.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        plain = parameter.ndim == 1 or name.endswith(("cls_token", "pos_embed"))
        assert decay.pop(id(parameter)) == (0.0 if plain else 0.3), name
    assert not decay


def test_the_schedule_ends_at_min_lr():
    parameter = torch.nn.Parameter(torch.zeros(1))
    config = TrainConfig(lr=0.1, min_lr=0.01, warmup_epochs=1)
    optimizer = torch.optim.SGD([parameter], lr=config.lr)
    schedule = build_schedule(optimizer, config, steps_per_epoch=2, total_steps=6)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.05) and rates[1] == rates[2] == pytest.approx(0.1)
    assert rates[6] == pytest.approx(0.01)


def test_adamw_has_the_recipes_betas():
    optimizer = build_optimizer(torch.nn.Linear(2, 2), TrainConfig(momentum=0.8, beta2=0.95))
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.95)}
