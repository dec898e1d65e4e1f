"""A study's life as people steer it: submit, look up, pause, resume, stop, delete."""

from __future__ import annotations

import json
import secrets

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.checking import check
from service.contract.errors import (
    IllegalMove,
    InvalidRequest,
    InvalidStudy,
    Problem,
    StudyNotFound,
)
from service.contract.study import StudyDefinition
from service.contract.trial import EnqueueRequest, StudyState, TrialKind
from service.contract.vocabulary import Vocabulary
from service.db import now
from service.models import Study, Trial
from service.phases import advance
from service.queue import cancel_open, enqueue
from service.quotas import charge_deleted
from service.states import STUDY_ENDS, locked, move_study
from service.tuner import Space, check_space


def validate(raw: object, vocabulary: Vocabulary) -> StudyDefinition:
    """The definition, or InvalidStudy with every problem: words, parameters and space."""
    definition = check(raw, vocabulary)
    problems = check_space(definition, vocabulary)
    if problems:
        raise InvalidStudy("the study cannot be searched as it stands", problems=problems)
    return definition


def problems(raw: object, vocabulary: Vocabulary) -> list[Problem]:
    """What `validate` would raise, as a list; none if the definition is fine."""
    try:
        validate(raw, vocabulary)
    except InvalidStudy as error:
        return error.problems
    return []


def create(session: Session, raw: object, vocabulary: Vocabulary, *, owner: str = "local") -> Study:
    """Store a study and offer its start job to the workers."""
    definition = validate(raw, vocabulary)
    study = Study(
        id=f"s{secrets.token_hex(5)}",
        name=definition.name,
        definition=json.loads(definition.model_dump_json()),
        state=StudyState.DRAFT,
        owner=owner,
        priority=definition.priority,
        weight=definition.weight,
        created=now(session),
        revision=0,
        clock=0,
        next_number=0,
        seeded=False,
    )
    session.add(study)
    session.flush()
    enqueue(session, study, kind=TrialKind.START, origin="start", seed=definition.training.seed)
    move_study(session, study, StudyState.ACTIVE)
    return study


def find(session: Session, ref: str) -> Study:
    """A study by id, or the newest of this name; StudyNotFound with what to do."""
    study = session.get(Study, ref)
    if study is None:
        study = session.scalars(
            select(Study).where(Study.name == ref).order_by(Study.created.desc(), Study.id).limit(1)
        ).first()
    if study is None:
        raise StudyNotFound(f"no study has the id or name {ref!r}; see GET /studies")
    return study


def page(
    session: Session, *, state: StudyState | None, cursor: str | None, limit: int
) -> tuple[list[Study], str | None]:
    """A slice of all studies, newest first, and the cursor of the next."""
    wanted = select(Study).order_by(Study.created.desc(), Study.id.desc()).limit(limit + 1)
    if state is not None:
        wanted = wanted.where(Study.state == state)
    if cursor is not None:
        after = session.get(Study, cursor)
        if after is None:
            raise InvalidRequest(f"cursor {cursor!r} leads nowhere; start without one")
        wanted = wanted.where(
            (Study.created < after.created)
            | ((Study.created == after.created) & (Study.id < after.id))
        )
    found = list(session.scalars(wanted))
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def pause(session: Session, ref: str) -> Study:
    """Lease nothing new; what trains goes on."""
    study = locked(session, find(session, ref).id)
    if study.state is not StudyState.PAUSED:
        move_study(session, study, StudyState.PAUSED, "paused by a person")
    return study


def resume(session: Session, ref: str, vocabulary: Vocabulary) -> Study:
    """Go on where a pause interrupted."""
    study = locked(session, find(session, ref).id)
    if study.state in (StudyState.ACTIVE, StudyState.CONFIRMING):
        return study
    confirming = session.scalars(
        select(Trial.uid)
        .where(Trial.study_id == study.id, Trial.kind == TrialKind.CONFIRM)
        .limit(1)
    ).first()
    move_study(session, study, StudyState.CONFIRMING if confirming else StudyState.ACTIVE)
    advance(session, study, vocabulary)
    return study


def stop(session: Session, ref: str) -> Study:
    """End the study now; its results stay. Stopping what ended by itself is an IllegalMove."""
    study = locked(session, find(session, ref).id)
    if study.state is not StudyState.STOPPED:
        move_study(session, study, StudyState.STOPPED, "stopped by a person")
        cancel_open(session, study, "the study was stopped")
    return study


def delete(session: Session, ref: str) -> set[str]:
    """Remove a study with all its trials; returns the digests nobody refers to any more."""
    study = locked(session, find(session, ref).id)
    charge_deleted(session, study)
    own = _digests(session, study.id)
    session.execute(delete_rows(Study).where(Study.id == study.id))
    session.expire_all()
    return own - wanted_blobs(session)


def wanted_blobs(session: Session) -> set[str]:
    """Digests of all stored objects some row refers to."""
    return _digests(session, None)


def add_trial(session: Session, ref: str, request: EnqueueRequest, vocabulary: Vocabulary) -> Trial:
    """Queue a person's own point; it counts against the budget like any other."""
    if (request.weights is None) == (request.shares is None):
        raise InvalidRequest("give either `weights` or `shares`, one of the two")
    study = locked(session, find(session, ref).id)
    if study.state in STUDY_ENDS or study.state is StudyState.CONFIRMING:
        raise IllegalMove(f"study {study.name} is {study.state} and takes no more trials")
    budget = study.parsed().budget.trials
    if study.searched >= budget:
        raise IllegalMove(f"study {study.name} has used up its budget of {budget} trials")
    calibration = study.calibrated()
    if calibration is None:
        raise IllegalMove(
            f"study {study.name} is not calibrated yet; try again when its start job is complete"
        )
    definition = study.parsed()
    space = Space(definition, vocabulary, calibration)
    if request.weights is not None:
        point = space.from_weights(request.weights)
        coordinates = space.coordinates_of(weights=request.weights)
    else:
        point = space.from_shares(request.shares or {})
        coordinates = space.coordinates_of(shares=request.shares or {})
    return enqueue(
        session,
        study,
        kind=TrialKind.SEARCH,
        origin="user",
        seed=definition.training.seed,
        point=point,
        coordinates=coordinates,
        note=request.note,
    )


def _digests(session: Session, study_id: str | None) -> set[str]:
    trials = select(Trial.resume_sha256, Trial.weights_sha256)
    starts = select(Study.start_sha256)
    if study_id is not None:
        trials = trials.where(Trial.study_id == study_id)
        starts = starts.where(Study.id == study_id)
    found = {digest for row in session.execute(trials) for digest in row}
    found |= set(session.scalars(starts))
    return {digest for digest in found if digest is not None}
