"""The start of a study: pre-trained once on the reference term, measured, shared by all trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import losses
from service.contract.study import StudyDefinition
from service.contract.trial import Calibration
from workers.calibration import measure
from workers.checkpoint import CheckpointUnreadable, TrainState, load, save
from workers.criterion import Criterion
from workers.lint import LintFailed, examine, probes_of
from workers.optimization import autocast
from workers.suppliers import Step
from workers.trainer import Batches, Event, Log, Plan, accompany, train


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
    """Return all steps of a start job: the generator's, then that of its companions."""
    return definition.training.warmup.steps + definition.training.warmup.discriminator_steps


def first_batch(definition: StudyDefinition) -> int:
    """Return where the stream of batches goes on for the trials: after what the start has seen."""
    return start_steps(definition) + definition.training.warmup.calibration_batches


def pretrain(
    state: TrainState,
    plan: Plan,
    batches: Batches,
    reference: Criterion,
    played: Criterion | None,
    *,
    companion_steps: int,
    log: Log,
) -> Iterator[Event]:
    """Train the generator on the reference term alone, then its companions on what it makes.

    `played` holds the terms that have a network trained beside the generator; None: there are none.
    Yields after every step; a RUNG between the two phases, DONE at the end. Resumes in either.
    """
    for event in train(state, plan, batches, reference, log=log):
        if event is not Event.DONE:
            yield event
        elif state.step == plan.steps:  # and not resumed beyond it
            yield Event.RUNG
    while played is not None and state.step < plan.steps + companion_steps:
        _companions_step(state, plan, batches, played, log=log)
        yield Event.STEP
    yield Event.DONE


def calibrate(
    state: TrainState,
    definition: StudyDefinition,
    batches: Batches,
    together: Criterion,
    alone: Mapping[str, Criterion],
    *,
    reference: str,
) -> Calibration:
    """Return every term's gradient norm at the start, over batches that no training has seen.

    The linter looks at the terms first, one by one (`alone`); raises LintFailed for what it finds
    to be an error, and CalibrationFailed.
    """
    first = start_steps(definition)
    probes = probes_of(definition, alone, state.generator, batches.batch(first), number=state.step)
    report = examine(definition, probes, reference=reference)
    if report.errors:
        raise LintFailed(report)
    count = definition.training.warmup.calibration_batches
    found = measure(
        state.generator, together, (batches.batch(first + index) for index in range(count))
    )
    return found.model_copy(update={"lint": report})


@dataclass(frozen=True)
class Start:
    """What every trial of a study begins with."""

    generator: Mapping[str, Any]
    companions: Mapping[str, Mapping[str, Any]]  #: by the key of their term

    def begin(self, state: TrainState) -> None:
        """Put the shared weights into a fresh state; optimisers begin anew.

        Raises CheckpointUnreadable if the start is of another study.
        """
        try:
            state.generator.load_state_dict(self.generator)
            if state.averaged is not None:
                state.averaged.load_state_dict(self.generator)
            for key, companion in state.companions.items():
                companion.network.load_state_dict(self.companions[key])
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
            "companions": {
                key: companion.network.state_dict() for key, companion in state.companions.items()
            },
        },
        path,
    )


def load_start(path: Path) -> Start:
    """Read a shared start; raises CheckpointUnreadable."""
    found = load(path)
    if "start" not in found:
        raise CheckpointUnreadable(f"{path} is no shared start; submit the study again")
    return Start(found["generator"], found["companions"])


def _companions_step(
    state: TrainState, plan: Plan, batches: Batches, played: Criterion, *, log: Log
) -> None:
    batch = batches.batch(plan.first_batch + state.step)
    due = (state.step + 1) % plan.log_every == 0
    with torch.no_grad():
        sr = state.generator(batch.lr)
    with autocast(sr.device, plan.dtype), losses.trusted():
        step = Step(batch, sr, number=state.step)
        given = played.given(step)
    values = accompany(state, played, step, given, plan, due=due)
    state.step += 1
    if values:
        log(values, state.step)
