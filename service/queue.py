"""What waits for workers: putting trials into a study's queue and taking them out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.trial import TrialKind, TrialState
from service.db import now
from service.models import Study, Trial
from service.states import TRIAL_OPEN, move_trial, touch
from service.tuner import Point


def enqueue(
    session: Session,
    study: Study,
    *,
    kind: TrialKind,
    origin: str,
    seed: int,
    point: Point | None = None,
    coordinates: dict[str, Any] | None = None,
    note: str = "",
) -> Trial:
    """Add a trial under the study's next number; the caller holds the study locked."""
    trial = add(
        session,
        study,
        kind=kind,
        origin=origin,
        seed=seed,
        point=point,
        coordinates=coordinates,
        note=note,
    )
    session.flush()
    return trial


def add(
    session: Session,
    study: Study,
    *,
    kind: TrialKind,
    origin: str,
    seed: int,
    point: Point | None = None,
    coordinates: dict[str, Any] | None = None,
    note: str = "",
) -> Trial:
    """`enqueue` without telling the database yet: many trials then go in one statement."""
    trial = Trial(
        uid=f"{study.id}-{study.next_number}",
        study_id=study.id,
        number=study.next_number,
        kind=kind,
        origin=origin,
        note=note,
        state=TrialState.QUEUED,
        seed=seed,
        coordinates=coordinates,
        shares=point.shares if point else {},
        weights=point.weights if point else {},
        created=now(session),
    )
    study.next_number += 1
    study.unfinished += 1
    study.searched += kind is TrialKind.SEARCH
    session.add(trial)
    touch(study, trial)
    return trial


def trials_of(session: Session, study: Study, *kinds: TrialKind) -> list[Trial]:
    """The study's trials of these kinds, in order of number."""
    return list(
        session.scalars(
            select(Trial)
            .where(Trial.study_id == study.id, Trial.kind.in_(kinds))
            .order_by(Trial.number)
        )
    )


def cancel_open(session: Session, study: Study, reason: str) -> None:
    """End what waits or trains without a result; workers hear it at their next heartbeat."""
    wanted = select(Trial).where(Trial.study_id == study.id, Trial.state.in_(TRIAL_OPEN))
    for trial in session.scalars(wanted.order_by(Trial.number)).all():
        move_trial(session, trial, TrialState.CANCELLED, reason)
