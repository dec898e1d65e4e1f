"""One training: the loop, a step of it on one screen, and the learning rate over it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from service.contract import study
from workers.calibration import combine, gradients, norm, shares
from workers.checkpoint import Adversary, TrainState
from workers.criterion import Criterion

Log = Callable[[Mapping[str, float], int], None]


class Diverged(Exception):
    """A loss became NaN or infinite; the sentence names it, its step and its neighbours."""


class Event(StrEnum):
    """What just happened in a training; the state's `step` says when."""

    STEP = "step"  #: one optimiser step was taken
    CHECKPOINT = "checkpoint"  #: a step after which to save
    RUNG = "rung"  #: a step after which to save and score
    DONE = "done"  #: the last step was taken, or was before


class Batches(Protocol):
    """Training pairs, counted: the same step is always the same batch."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return (lr, hr) of `step`, (N, 3, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long, how fast, and when to speak; all in optimiser steps."""

    steps: int
    lr: float
    discriminator_lr: float = 0.0
    schedule: study.Schedule = field(default_factory=study.Schedule)
    rungs: frozenset[int] = frozenset()
    checkpoint_every: int = 0
    log_every: int = 20
    ema: float = 0.0
    dtype: str = "float32"
    first_batch: int = 0  #: where in the stream of batches step 0 is

    def speaks(self, step: int) -> bool:
        """Whether a point of the curves is due after `step` steps."""
        return step % self.log_every == 0 or step in self.rungs or step == self.steps

    def event(self, step: int) -> Event:
        """What taking the `step`-th step amounts to."""
        if step == self.steps:
            return Event.DONE
        if step in self.rungs:
            return Event.RUNG
        if self.checkpoint_every and step % self.checkpoint_every == 0:
            return Event.CHECKPOINT
        return Event.STEP


def train(
    state: TrainState, plan: Plan, batches: Batches, criterion: Criterion, *, log: Log
) -> Iterator[Event]:
    """Train from `state.step` to `plan.steps`, yielding after every step; the last event is DONE.

    Equal state, plan, batches and criterion give equal tensors, bit for bit on a CPU. `log` gets
    the curves' values with the steps taken. Raises Diverged when a curve point or rung is due.
    """
    while state.step < plan.steps:
        started = time.perf_counter()
        values = take_step(state, plan, batches, criterion)
        state.seconds += time.perf_counter() - started
        if values:
            log(values | {"speed/it_per_s": state.step / state.seconds}, state.step)
        if state.step < plan.steps:
            yield plan.event(state.step)
    yield Event.DONE


def take_step(
    state: TrainState, plan: Plan, batches: Batches, criterion: Criterion
) -> dict[str, float]:
    """Take one optimiser step; return the curves' values if a point is due, else nothing."""
    factor = rate(plan.schedule, state.step, plan.steps)
    due = plan.speaks(state.step + 1)
    lr, hr = batches.batch(plan.first_batch + state.step)
    parameters = list(state.generator.parameters())
    with autocast(lr.device, plan.dtype):
        sr = state.generator(lr).float()
        parts = criterion.parts(sr, hr)

    values: dict[str, float] = {"train/lr": plan.lr * factor} if due else {}
    if due:
        values |= _checked(parts, criterion, state.step + 1)
        # The terms' gradients, one by one, tell how hard each pulls; their sum is the step's.
        each = gradients(parts, parameters)
        values |= _pull({key: norm(gradient) for key, gradient in each.items()}, criterion)
        combine(each, criterion.weights, parameters)
    else:
        torch.autograd.backward(criterion.total(parts), inputs=parameters)
    update(state.optimizer, plan.lr * factor)

    if state.averaged is not None:
        blend(state.averaged, parameters, average_decay(plan.ema, state.step))
    for key, loss in criterion.terms.items():
        if key in state.adversaries:
            adversary, images = state.adversaries[key], (sr.detach(), hr)
            values |= discriminate(adversary, loss, images, plan, factor, point=due and key)
    state.step += 1
    return values


def discriminate(
    adversary: Adversary,
    loss: Any,
    images: tuple[Tensor, Tensor],
    plan: Plan,
    factor: float = 1.0,
    *,
    point: str | Literal[False] = False,
) -> dict[str, float]:
    """Take one step of a discriminator on (sr, hr); return the values of the curves of `point`."""
    sr, hr = images
    with autocast(hr.device, plan.dtype):
        value: Tensor = loss.discriminator_loss(sr, hr, adversary.discriminator)
    torch.autograd.backward(value)
    update(adversary.optimizer, plan.discriminator_lr * factor)
    if not point:
        return {}
    discriminator = adversary.discriminator.eval()
    with torch.no_grad():
        real, fake = float(discriminator(hr).mean()), float(discriminator(sr).mean())
    discriminator.train()
    return {f"d/{point}": float(value.detach()), f"d/{point}.real": real, f"d/{point}.fake": fake}


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


def _checked(parts: Mapping[str, Tensor], criterion: Criterion, step: int) -> dict[str, float]:
    """The curves of the terms' values; raises Diverged."""
    values = {key: float(part.detach()) for key, part in parts.items()}
    if bad := [key for key, value in values.items() if not math.isfinite(value)]:
        said = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        raise Diverged(f"loss {bad[0]} is {values[bad[0]]} at step {step} ({said})")
    total = sum(criterion.weights[key] * value for key, value in values.items())
    return {f"loss/{key}": value for key, value in values.items()} | {"loss/total": total}


def _pull(norms: Mapping[str, float], criterion: Criterion) -> dict[str, float]:
    """The curves of how hard each term pulls at the generator."""
    found: dict[str, float] = {}
    for key, share in shares(criterion.weights, norms).items():
        found |= {
            f"grad/{key}": norms[key],
            f"share/{key}": share,
            f"weight/{key}": criterion.weights[key],
        }
    return found
