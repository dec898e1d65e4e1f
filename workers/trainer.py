"""One training: the loop, a step of it on one screen, and the learning rate over it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import losses
from service.contract import study
from workers.calibration import combine, gradients, norm, shares
from workers.checkpoint import TrainState
from workers.criterion import Criterion, Given
from workers.data.pairs import Batch
from workers.optimization import autocast, average_decay, blend, rate, update
from workers.suppliers import Step, trained_need

Log = Callable[[Mapping[str, float], int], None]

#: Where the curves of what a network beside the generator minimises are.
_CURVES: dict[str | None, str] = {"discriminator": "d", "shrinker": "aux"}


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

    def batch(self, step: int) -> Batch:
        """Return the crops of `step`."""
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
    parameters = list(state.generator.parameters())
    step, given, parts = evaluate(state, plan, batches, criterion)

    values: dict[str, float] = {"train/lr": plan.lr * factor} if due else {}
    if due:
        values |= _checked(parts, criterion, state.step + 1)
        values |= _faces_found(criterion)
        # The terms' gradients, one by one, tell how hard each pulls; their sum is the step's.
        each = gradients(parts, parameters)
        values |= _pull({key: norm(gradient) for key, gradient in each.items()}, criterion)
        combine(each, criterion.weights, parameters)
    else:
        torch.autograd.backward(criterion.total(parts), inputs=parameters)
    update(state.optimizer, plan.lr * factor)

    if state.averaged is not None:
        blend(state.averaged, parameters, average_decay(plan.ema, state.step))
    values |= accompany(state, criterion, step.detached(), given, plan, factor, due=due)
    state.step += 1
    return values


def evaluate(
    state: TrainState, plan: Plan, batches: Batches, criterion: Criterion
) -> tuple[Step, Given, dict[str, Tensor]]:
    """Return the present step, what the terms were given of it, and their values.

    The losses look at the images of the very first step, and trust the others: reading a value
    makes a GPU wait. Raises Diverged where the generator that training begins with is broken.
    """
    batch = batches.batch(plan.first_batch + state.step)
    first = state.step == 0
    with autocast(batch.lr.device, plan.dtype), nullcontext() if first else losses.trusted():
        sr = state.generator(batch.lr).float()
        if first and not bool(torch.isfinite(sr).all()):
            raise Diverged("the generator makes NaN or infinite pixels before its first step")
        step = Step(batch, sr, number=state.step, average=state.averaged)
        given = criterion.given(step)
        return step, given, criterion.parts(step, given)


def accompany(
    state: TrainState,
    criterion: Criterion,
    step: Step,
    given: Given,
    plan: Plan,
    factor: float = 1.0,
    *,
    due: bool = False,
) -> dict[str, float]:
    """Take one step of every network trained beside the generator; return its curves if `due`.

    SR of `step` is without gradient, and so is made whatever was `given` of it.
    """
    values: dict[str, float] = {}
    for key, companion in state.companions.items():
        if key not in criterion.terms:
            continue
        loss: Any = criterion.terms[key]
        need = trained_need(criterion.needs[key])
        beside = {name: apart(thing) for name, thing in given[key].items() if name != need}
        with autocast(step.sr.device, plan.dtype), losses.trusted():
            value: Tensor = getattr(loss, f"{need}_loss")(
                step.sr, step.hr, companion.network, **beside
            )
        torch.autograd.backward(value)
        update(companion.optimizer, plan.discriminator_lr * factor)
        if due:
            values |= {f"{_CURVES[need]}/{key}": float(value.detach())}
            if need == "discriminator":
                values |= _verdicts(key, loss, step, companion.network, beside)
    return values


def apart(thing: object) -> object:
    """Return what a companion is given in place of what the generator's losses were given."""
    return thing.detached() if isinstance(thing, losses.Features) else thing


def _checked(parts: Mapping[str, Tensor], criterion: Criterion, step: int) -> dict[str, float]:
    """The curves of the terms' values; raises Diverged."""
    values = {key: float(part.detach()) for key, part in parts.items()}
    if bad := [key for key, value in values.items() if not math.isfinite(value)]:
        said = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        raise Diverged(f"loss {bad[0]} is {values[bad[0]]} at step {step} ({said})")
    total = sum(criterion.weights[key] * value for key, value in values.items())
    return {f"loss/{key}": value for key, value in values.items()} | {"loss/total": total}


def _verdicts(
    key: str, loss: Any, step: Step, discriminator: nn.Module, beside: Mapping[str, object]
) -> dict[str, float]:
    """What a discriminator now thinks of HR and of SR: the means of its logits."""
    verdicts = loss.verdicts(step.sr, step.hr, discriminator, **beside)
    real, fake = (float(logits.mean()) for logits in verdicts)
    return {f"d/{key}.real": real, f"d/{key}.fake": fake}


def _faces_found(criterion: Criterion) -> dict[str, float]:
    """The fraction of images with a face, of each term that looks for faces, since the last point."""
    found: dict[str, float] = {}
    for key, loss in criterion.terms.items():
        counts: Any = loss
        if "faces" in criterion.needs[key] and counts.seen:
            found[f"faces/{key}"] = 1 - counts.without_face / counts.seen
            counts.seen = counts.without_face = 0
    return found


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
