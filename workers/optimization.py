"""How parameters move: the optimiser, its learning rate, the running average, the precision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from service.contract import study


def optimizer(settings: study.Optimizer, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return Adam or AdamW over `parameters`, one fused kernel per step; the loop sets its rate."""
    kind: type[Adam] | type[AdamW] = {"adam": Adam, "adamw": AdamW}[settings.name]
    return kind(parameters, betas=settings.betas, weight_decay=settings.weight_decay, fused=True)


def update(over: Optimizer, rate: float) -> None:
    """Take a step at this learning rate, and clear the gradients."""
    for group in over.param_groups:
        group["lr"] = rate
    over.step()
    over.zero_grad(set_to_none=True)


def rate(schedule: study.Schedule, step: int, steps: int) -> float:
    """Return the learning rate of step `step` (from 0) as a fraction of the first."""
    done = step / steps
    if schedule.name == "cosine":
        return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * done))
    if schedule.name == "multistep":
        return 0.5 ** sum(done >= milestone for milestone in schedule.milestones)
    return 1.0


@torch.no_grad()
def blend(averaged: nn.Module, parameters: Sequence[nn.Parameter], decay: float) -> None:
    """Move the running average towards the parameters: a ← decay·a + (1 - decay)·p."""
    torch._foreach_lerp_([*averaged.parameters()], [*parameters], 1 - decay)


def average_decay(decay: float, step: int) -> float:
    """Return the decay of the running average at `step`: short at first, `decay` in the long run.

    min(decay, (1 + step) / (10 + step)), TensorFlow's rule: with 0.999 from the first step, a trial
    of 500 steps would be scored on weights that are 60 % the shared start.
    """
    return min(decay, (1 + step) / (10 + step))


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """Return the context of forward passes: bfloat16 where the study asks for it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")
