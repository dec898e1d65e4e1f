"""The start of a study: pre-trained once on the reference term, measured, shared by all trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from service.contract.study import StudyDefinition
from service.contract.trial import Calibration
from workers.calibration import measure
from workers.checkpoint import CheckpointUnreadable, TrainState, load, save
from workers.criterion import Criterion
from workers.trainer import Batches, Event, Log, Plan, discriminate, train


def start_plan(definition: StudyDefinition) -> Plan:
    """Return how long and how fast the pre-training is; the generator is not averaged."""
    training, warmup = definition.training, definition.training.warmup
    return Plan(
        steps=warmup.steps,
        lr=warmup.lr,
        discriminator_lr=training.optimizer.discriminator_lr,
        # Half a thousand steps lost are cheap; a checkpoint each is not, of a large model.
        checkpoint_every=max(1, min(1000, -(-warmup.steps // 5))),
        log_every=training.log_every,
        dtype=training.dtype,
    )


def start_steps(definition: StudyDefinition) -> int:
    """Return all steps of a start job: the generator's, then the discriminators' alone."""
    return definition.training.warmup.steps + definition.training.warmup.discriminator_steps


def first_batch(definition: StudyDefinition) -> int:
    """Return where the stream of batches goes on for the trials: after what the start has seen."""
    return start_steps(definition) + definition.training.warmup.calibration_batches


def pretrain(
    state: TrainState,
    plan: Plan,
    batches: Batches,
    reference: Criterion,
    criterion: Criterion,
    *,
    discriminator_steps: int,
    log: Log,
) -> Iterator[Event]:
    """Train the generator on the reference term alone, then the discriminators on what it makes.

    Yields after every step; a RUNG between the two phases, DONE at the end. Resumes in either.
    """
    for event in train(state, plan, batches, reference, log=log):
        if event is not Event.DONE:
            yield event
        elif state.step == plan.steps:  # and not resumed beyond it
            yield Event.RUNG
    end = plan.steps + (discriminator_steps if state.adversaries else 0)
    while state.step < end:
        _discriminators_step(state, plan, batches, criterion, log=log)
        yield Event.STEP
    yield Event.DONE


def calibrate(
    state: TrainState, definition: StudyDefinition, batches: Batches, criterion: Criterion
) -> Calibration:
    """Return every term's gradient norm at the start, over batches that no training has seen."""
    count = definition.training.warmup.calibration_batches
    first = start_steps(definition)
    return measure(
        state.generator, criterion, (batches.batch(first + index) for index in range(count))
    )


@dataclass(frozen=True)
class Start:
    """What every trial of a study begins with."""

    generator: Mapping[str, Any]
    discriminators: Mapping[str, Mapping[str, Any]]

    def begin(self, state: TrainState) -> None:
        """Put the shared weights into a fresh state; optimisers begin anew.

        Raises CheckpointUnreadable if the start is of another study.
        """
        try:
            state.generator.load_state_dict(self.generator)
            if state.averaged is not None:
                state.averaged.load_state_dict(self.generator)
            for key, adversary in state.adversaries.items():
                adversary.discriminator.load_state_dict(self.discriminators[key])
        except (KeyError, RuntimeError) as error:
            raise CheckpointUnreadable(
                f"the shared start does not fit this study's model ({error}); submit the study again"
            ) from error


def save_start(state: TrainState, path: Path) -> None:
    """Write the shared start to `path`; raises DiskFull."""
    save(
        {
            "start": True,
            "generator": state.generator.state_dict(),
            "discriminators": {
                key: adversary.discriminator.state_dict()
                for key, adversary in state.adversaries.items()
            },
        },
        path,
    )


def load_start(path: Path) -> Start:
    """Read a shared start; raises CheckpointUnreadable."""
    found = load(path)
    if "start" not in found:
        raise CheckpointUnreadable(f"{path} is no shared start; submit the study again")
    return Start(found["generator"], found["discriminators"])


def _discriminators_step(
    state: TrainState, plan: Plan, batches: Batches, criterion: Criterion, *, log: Log
) -> None:
    lr, hr = batches.batch(plan.first_batch + state.step)
    point = (state.step + 1) % plan.log_every == 0
    values: dict[str, float] = {}
    with torch.no_grad():
        sr = state.generator(lr)
    for key, adversary in state.adversaries.items():
        values |= discriminate(adversary, criterion.terms[key], (sr, hr), plan, point=point and key)
    state.step += 1
    if values:
        log(values, state.step)
