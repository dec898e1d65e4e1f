"""How a study goes on by itself: start, search, confirmation, end."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.errors import InvalidRequest
from service.contract.study import StudyDefinition
from service.contract.trial import StudyState, TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.db import now
from service.models import Study, Trial
from service.queue import cancel_open, enqueue, trials_of
from service.scores import device_seconds
from service.states import STUDY_ENDS, move_study
from service.tuner import Space, front, knee, translate_named

logger = logging.getLogger(__name__)

#: Origins of the points a study is compared with.
BASELINES = ("baseline", "recipe:")


def advance(session: Session, study: Study, vocabulary: Vocabulary) -> None:
    """Bring the study on after something ended; the caller holds it locked."""
    if study.state in STUDY_ENDS:
        return
    if study.start_sha256 is None:  # and so not calibrated; spares reading the calibration
        _give_up_without_start(session, study)
        return
    if not study.seeded:
        _seed(session, study, vocabulary)
    if study.state is StudyState.ACTIVE:
        _end_search(session, study, vocabulary)
    elif study.state is StudyState.CONFIRMING:
        _end_confirming(session, study)


def overspent(session: Session, study: Study, definition: StudyDefinition) -> str | None:
    """Which budget of time is used up, as a sentence; None while there is some left."""
    budget = definition.budget
    if budget.wall_hours is None and budget.gpu_hours is None:
        return None
    at = now(session)
    if budget.wall_hours is not None and study.started is not None:
        hours = (at - study.started) / 3600
        if hours >= budget.wall_hours:
            return f"the budget of {budget.wall_hours:g} hours is used up"
    if budget.gpu_hours is not None:
        hours = device_seconds(session, study, at=at) / 3600
        if hours >= budget.gpu_hours:
            return f"the budget of {budget.gpu_hours:g} device hours is used up"
    return None


def _give_up_without_start(session: Session, study: Study) -> None:
    late = overspent(session, study, study.parsed())
    if late is not None:
        cancel_open(session, study, late)
        move_study(session, study, StudyState.FAILED, f"{late} before the start was made")
        return
    start = session.scalars(
        select(Trial).where(Trial.study_id == study.id, Trial.kind == TrialKind.START)
    ).first()
    if start is not None and start.state is TrialState.FAILED:
        move_study(session, study, StudyState.FAILED, f"the start job failed: {start.reason}")


def _seed(session: Session, study: Study, vocabulary: Vocabulary) -> None:
    """Put the recipes into the queue, now that their weights can be read as shares."""
    definition = study.parsed()
    study.seeded = True
    try:
        space = Space(definition, vocabulary, study.calibrated())
    except InvalidRequest as error:
        move_study(session, study, StudyState.FAILED, error.detail)
        return
    for name in definition.search.recipes[: definition.budget.trials]:
        translation = translate_named(name, definition, vocabulary)
        if not translation.usable:
            logger.warning("recipe left out", extra={"study": study.id, "recipe": name})
            continue
        enqueue(
            session,
            study,
            kind=TrialKind.SEARCH,
            origin=translation.origin,
            seed=definition.training.seed,
            point=space.from_weights(translation.weights),
            coordinates=space.coordinates_of(weights=translation.weights),
            note="; ".join(translation.notes),
        )


def _end_search(session: Session, study: Study, vocabulary: Vocabulary) -> None:
    definition = study.parsed()
    late = overspent(session, study, definition)
    if late is not None:
        # What still trains ends too: a budget that running trials may overdraw is none.
        cancel_open(session, study, late)
    elif study.searched < definition.budget.trials:
        return
    if study.unfinished:
        return
    complete = [
        trial
        for trial in trials_of(session, study, TrialKind.SEARCH)
        if trial.state is TrialState.COMPLETE
    ]
    spent = late or f"the budget of {definition.budget.trials} trials is used up"
    if not complete:
        move_study(session, study, StudyState.FAILED, f"{spent}, and no trial was completed")
    elif definition.confirm.candidates and late is None:
        _confirm(session, study, definition, vocabulary, complete)
    else:
        move_study(session, study, StudyState.FINISHED, spent)


def _end_confirming(session: Session, study: Study) -> None:
    late = overspent(session, study, study.parsed())
    if late is not None:
        cancel_open(session, study, late)
        move_study(session, study, StudyState.FINISHED, f"{late} before all repeats were made")
    elif not study.unfinished:
        move_study(session, study, StudyState.FINISHED, "the best are confirmed")


def _confirm(
    session: Session,
    study: Study,
    definition: StudyDefinition,
    vocabulary: Vocabulary,
    complete: list[Trial],
) -> None:
    """Queue the best and the baselines again, with other seeds."""
    chosen = candidates(complete, definition, vocabulary)
    baselines = [t for t in complete if t.origin.startswith(BASELINES)]
    repeated = {trial.number: trial for trial in [*chosen, *baselines]}
    for trial in repeated.values():
        for repeat in range(1, definition.confirm.seeds + 1):
            again = enqueue(
                session,
                study,
                kind=TrialKind.CONFIRM,
                origin=f"confirm:{trial.number}",
                seed=definition.training.seed + repeat,
                note=f"trial {trial.number} with another seed",
            )
            again.shares, again.weights = trial.shares, trial.weights
    move_study(session, study, StudyState.CONFIRMING, f"{len(repeated)} trials are repeated")


def candidates(
    complete: list[Trial], definition: StudyDefinition, vocabulary: Vocabulary
) -> list[Trial]:
    """Members of the front to repeat: the knee, then always the one farthest from those chosen."""
    directions = [vocabulary.metrics[name].direction for name in definition.objectives]
    values = [[trial.metrics[name] for name in definition.objectives] for trial in complete]
    members = front(values, directions)
    columns = [[values[i][d] for i in members] for d in range(len(directions))]
    widths = [max(column) - min(column) or 1.0 for column in columns]

    def apart(one: int, other: int) -> float:
        pairs = zip(values[one], values[other], widths, strict=True)
        return sum(((a - b) / w) ** 2 for a, b, w in pairs)

    chosen = [knee(values, directions)]
    while len(chosen) < min(definition.confirm.candidates, len(members)):
        rest = [i for i in members if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(apart(i, c) for c in chosen)))
    return [complete[i] for i in chosen]
