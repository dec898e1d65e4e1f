"""What waits for workers: putting trials into a study's queue and taking them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
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
    row = _row(study, kind, origin, seed, point, coordinates, at=now(session))
    trial = Trial(**row, note=note)
    session.add(trial)
    session.flush()
    return trial


def enqueue_all(
    session: Session,
    study: Study,
    points: Sequence[tuple[Point, dict[str, Any]]],
    *,
    origin: str,
    seed: int,
    proposed_clock: int,
) -> None:
    """Add search trials at these points and coordinates, in one statement and without objects."""
    at = now(session)
    rows = [
        _row(study, TrialKind.SEARCH, origin, seed, point, coordinates, at=at)
        | {"proposed_clock": proposed_clock}
        for point, coordinates in points
    ]
    if rows:
        session.execute(insert(Trial), rows)


def _row(
    study: Study,
    kind: TrialKind,
    origin: str,
    seed: int,
    point: Point | None,
    coordinates: dict[str, Any] | None,
    *,
    at: float,
) -> dict[str, Any]:
    """The columns of the study's next trial, which it then counts."""
    number = study.next_number
    study.next_number += 1
    study.unfinished += 1
    study.searched += kind is TrialKind.SEARCH
    touch(study)
    return {
        "uid": f"{study.id}-{number}",
        "study_id": study.id,
        "number": number,
        "kind": kind,
        "origin": origin,
        "state": TrialState.QUEUED,
        "seed": seed,
        "coordinates": coordinates,
        "shares": point.shares if point else {},
        "weights": point.weights if point else {},
        "created": at,
        "revision": study.revision,
    }


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
