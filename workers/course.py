"""From a leased job to a training ready to run: the state, the loop's events, how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from service.contract.reference import reference_term
from service.contract.study import StudyDefinition, Term, Training
from service.contract.trial import Calibration, TrialJob, TrialKind
from workers import models
from workers.bench import Bench
from workers.checkpoint import Companion, TrainState, average_of
from workers.criterion import Criterion, criterion, modules
from workers.optimization import optimizer
from workers.start import (
    calibrate,
    first_batch,
    load_start,
    pretrain,
    start_plan,
)
from workers.suppliers import DefinitionError, companions, looks_for_faces, placed, seeded
from workers.trainer import Event, Log, Plan, train
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
    built = modules(terms, definition.data)
    state = _state(definition, built, job.seed, bench, ema=0.0)
    reference = reference_term(definition, vocabulary())
    if reference is None:
        raise DefinitionError("no pixel loss is searched, so there is nothing to warm up on")

    def sum_of(chosen: Sequence[Term]) -> Criterion:
        return _criterion(chosen, built, {term.key: 1.0 for term in chosen}, state, bench)

    played = [term for term in terms if term.key in state.companions]
    together = sum_of(terms)
    batches = bench.pairs(definition.data, job.seed, faces=looks_for_faces(built))
    events = pretrain(
        state,
        start_plan(definition),
        batches,
        sum_of([reference]),
        sum_of(played) if played else None,
        companion_steps=definition.training.warmup.discriminator_steps,
        log=log,
    )

    def calibrated() -> Calibration:
        alone = {term.key: sum_of([term]) for term in terms}
        key = reference.key
        return calibrate(state, definition, batches, together, alone, reference=key)

    return Course(state, events, calibrated)


def _trial(job: TrialJob, bench: Bench, log: Log) -> Course:
    """Training from the shared start with the job's weights; terms of weight 0 are not built."""
    definition = job.definition
    live = [term for term in definition.losses if job.weights.get(term.key, 0.0) > 0]
    built = modules(live, definition.data)
    state = _state(definition, built, job.seed, bench, ema=definition.training.ema)
    if job.start is not None:
        load_start(bench.fetched(job.start)).begin(state)
    total = _criterion(live, built, job.weights, state, bench)
    batches = bench.pairs(definition.data, job.seed, faces=looks_for_faces(built))
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
    built: Mapping[str, nn.Module],
    seed: int,
    bench: Bench,
    *,
    ema: float,
) -> TrainState:
    training: Training = definition.training
    generator = placed(seeded(lambda: _generator(definition), seed), bench.device)
    beside = {key: placed(made, bench.device) for key, made in companions(built, seed).items()}
    return TrainState(
        generator=generator,
        optimizer=optimizer(training.optimizer, generator.parameters()),
        averaged=average_of(generator) if ema > 0 else None,
        companions={
            key: Companion(network, optimizer(training.optimizer, network.parameters()))
            for key, network in beside.items()
        },
    )


def _criterion(
    terms: Sequence[Term],
    built: Mapping[str, nn.Module],
    weights: Mapping[str, float],
    state: TrainState,
    bench: Bench,
) -> Criterion:
    beside = {key: companion.network for key, companion in state.companions.items()}
    return criterion(terms, built, weights=weights, networks=bench.networks, companions=beside)


def _generator(definition: StudyDefinition) -> nn.Module:
    model = definition.model
    try:
        return models.build(model.name, scale=definition.data.scale, **model.parameters)
    except (models.UnknownModel, models.InvalidModelParameter) as error:
        raise DefinitionError(str(error)) from error
