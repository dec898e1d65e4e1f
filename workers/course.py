"""From a leased job to a training ready to run: the state, the loop's events, how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from service.contract.reference import reference_term
from service.contract.study import StudyDefinition, Training
from service.contract.trial import Calibration, TrialJob, TrialKind
from workers import models
from workers.bench import Bench
from workers.checkpoint import Adversary, TrainState, average_of
from workers.criterion import criterion, modules
from workers.start import (
    calibrate,
    first_batch,
    load_start,
    pretrain,
    start_plan,
)
from workers.suppliers import DefinitionError, discriminators, placed, seeded
from workers.trainer import Event, Log, Plan, optimizer, train
from workers.vocabulary import vocabulary


@dataclass(frozen=True)
class Course:
    """One training: iterate `events`, read `state` in between."""

    state: TrainState
    events: Iterator[Event]
    calibrate: Callable[[], Calibration] | None = None  #: of a start job, after its last event


def open_course(job: TrialJob, bench: Bench, *, log: Log) -> Course:
    """Build what a job asks for, and go to where an earlier attempt got to.

    Raises DataError, DefinitionError, CheckpointUnreadable, WeightsUnavailable, and the client's
    errors while it fetches.
    """
    course = _start(job, bench, log) if job.kind is TrialKind.START else _trial(job, bench, log)
    if job.resume is not None:
        course.state.restore(bench.fetched(job.resume.blob))
    return course


def _start(job: TrialJob, bench: Bench, log: Log) -> Course:
    """Pre-training on the reference term; all terms are built, for the calibration."""
    definition = job.definition
    terms = [term for term in definition.losses if term.weight != 0]
    built = modules(terms)
    state = _state(definition, _discriminators(built, job.seed, bench), job.seed, bench, ema=0.0)
    adversaries = {key: a.discriminator for key, a in state.adversaries.items()}
    reference = reference_term(definition, vocabulary())
    if reference is None:
        raise DefinitionError("no pixel loss is searched, so there is nothing to warm up on")
    alone, together = (
        criterion(chosen, built, weights=weights, networks=bench.networks, adversaries=adversaries)
        for chosen, weights in (
            ([reference], {reference.key: 1.0}),
            (terms, {term.key: 1.0 for term in terms}),
        )
    )
    batches = bench.pairs(definition.data, job.seed)
    events = pretrain(
        state,
        start_plan(definition),
        batches,
        alone,
        together,
        discriminator_steps=definition.training.warmup.discriminator_steps,
        log=log,
    )
    return Course(state, events, lambda: calibrate(state, definition, batches, together))


def _trial(job: TrialJob, bench: Bench, log: Log) -> Course:
    """Training from the shared start with the job's weights; terms of weight 0 are not built."""
    definition = job.definition
    live = [term for term in definition.losses if job.weights.get(term.key, 0.0) > 0]
    built = modules(live)
    state = _state(
        definition,
        _discriminators(built, job.seed, bench),
        job.seed,
        bench,
        ema=definition.training.ema,
    )
    if job.start is not None:
        load_start(bench.fetched(job.start)).begin(state)
    total = criterion(
        live,
        built,
        weights=job.weights,
        networks=bench.networks,
        adversaries={key: a.discriminator for key, a in state.adversaries.items()},
    )
    batches = bench.pairs(definition.data, job.seed)
    return Course(state, train(state, trial_plan(definition), batches, total, log=log))


def trial_plan(definition: StudyDefinition) -> Plan:
    """Return how long and how fast a trial is, and where in the stream of batches it begins."""
    training = definition.training
    return Plan(
        steps=training.steps,
        lr=training.optimizer.lr,
        discriminator_lr=training.optimizer.discriminator_lr,
        schedule=training.schedule,
        rungs=frozenset(training.rung_steps()),
        checkpoint_every=training.checkpoint_every,
        log_every=training.log_every,
        ema=training.ema,
        dtype=training.dtype,
        first_batch=first_batch(definition),
    )


def _state(
    definition: StudyDefinition,
    adversaries: Mapping[str, nn.Module],
    seed: int,
    bench: Bench,
    *,
    ema: float,
) -> TrainState:
    training: Training = definition.training
    generator = placed(seeded(lambda: _generator(definition), seed), bench.device)
    return TrainState(
        generator=generator,
        optimizer=optimizer(training.optimizer, generator.parameters()),
        averaged=average_of(generator) if ema > 0 else None,
        adversaries={
            key: Adversary(network, optimizer(training.optimizer, network.parameters()))
            for key, network in adversaries.items()
        },
    )


def _generator(definition: StudyDefinition) -> nn.Module:
    model = definition.model
    try:
        return models.build(model.name, scale=definition.data.scale, **model.parameters)
    except (models.UnknownModel, models.InvalidModelParameter) as error:
        raise DefinitionError(str(error)) from error


def _discriminators(
    built: Mapping[str, nn.Module], seed: int, bench: Bench
) -> dict[str, nn.Module]:
    return {
        key: placed(network, bench.device) for key, network in discriminators(built, seed).items()
    }
