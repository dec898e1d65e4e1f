"""Which trials a worker gets next."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from service.contract.errors import WorkerNotFound
from service.contract.trial import Lease, LeaseRequest, StudyState, TrialJob, TrialState
from service.contract.worker import WorkerState
from service.db import now
from service.models import Attempt, Study, Trial, Worker
from service.states import heard_from, move_trial

#: Beats a worker may miss before its lease lapses.
_BEATS = 6.0


@dataclass(frozen=True)
class _Candidate:
    study_id: str
    priority: int
    resumable: bool
    running: int
    created: float


def lease(session: Session, request: LeaseRequest, *, lease_seconds: float) -> list[Lease]:
    """Up to `capacity` trials of one study for this worker; empty when there is nothing to do.

    Higher priority first, then studies with an interrupted trial, then the study with the fewest
    trials in training; within a study interrupted trials first, then in order of number.
    """
    worker = session.get(Worker, request.worker)
    if worker is None:
        raise WorkerNotFound(f"no worker has the id {request.worker}; register again")
    at = now(session)
    leases: list[Lease] = []
    if worker.state is not WorkerState.DRAINING:
        for place, candidate in enumerate(_candidates(session, worker, at)):
            study = _lock(session, candidate.study_id, wait=place == 0)
            trials = [] if study is None else _waiting(session, study, at, request.capacity)
            if study is not None and trials:
                leases = [_grant(session, study, t, worker, at, lease_seconds) for t in trials]
                break
    heard_from(session, worker)
    return leases


def _candidates(session: Session, worker: Worker, at: float) -> list[_Candidate]:
    """Studies with something for this worker, the most deserving first."""
    waits = case(((Trial.state == TrialState.QUEUED) & (Trial.not_before <= at), 1), else_=0)
    interrupted = case(((waits == 1) & (Trial.token > 0), 1), else_=0)
    trains = case((Trial.state == TrialState.LEASED, 1), else_=0)
    rows = session.execute(
        select(Study.id, func.sum(waits), func.sum(interrupted), func.sum(trains))
        .join(Trial, Trial.study_id == Study.id)
        .where(
            Study.state.in_((StudyState.ACTIVE, StudyState.CONFIRMING)),
            Trial.state.in_((TrialState.QUEUED, TrialState.LEASED)),
        )
        .group_by(Study.id)
    ).all()
    found = []
    for study_id, waiting, resumable, running in rows:
        study = session.get_one(Study, study_id)
        labels = study.definition.get("labels") or {}
        if waiting and labels.items() <= worker.labels.items():
            found.append(
                _Candidate(study_id, study.priority, bool(resumable), running, study.created)
            )
    return sorted(found, key=lambda c: (-c.priority, not c.resumable, c.running, c.created))


def _lock(session: Session, study_id: str, *, wait: bool) -> Study | None:
    """The study's row, if it still gives work.

    Only the first study is waited for: whoever holds one row and waits for another can deadlock.
    """
    study = session.scalars(
        select(Study)
        .where(Study.id == study_id)
        .with_for_update(skip_locked=not wait)
        .execution_options(populate_existing=True)
    ).first()
    if study is None or study.state not in (StudyState.ACTIVE, StudyState.CONFIRMING):
        return None
    return study


def _waiting(session: Session, study: Study, at: float, capacity: int) -> list[Trial]:
    return list(
        session.scalars(
            select(Trial)
            .where(
                Trial.study_id == study.id,
                Trial.state == TrialState.QUEUED,
                Trial.not_before <= at,
            )
            .order_by(case((Trial.token > 0, 0), else_=1), Trial.number)
            .limit(capacity)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
    )


def _grant(
    session: Session, study: Study, trial: Trial, worker: Worker, at: float, lease_seconds: float
) -> Lease:
    move_trial(session, trial, TrialState.LEASED)
    trial.token += 1
    trial.attempts += 1
    trial.lease_id = secrets.token_hex(12)
    trial.worker_id = worker.id
    trial.expires = at + lease_seconds
    trial.steps_per_second = 0.0
    if study.started is None:
        study.started = at
    session.add(
        Attempt(
            trial_uid=trial.uid,
            token=trial.token,
            lease_id=trial.lease_id,
            worker_id=worker.id,
            started=at,
        )
    )
    return Lease(
        id=trial.lease_id,
        token=trial.token,
        expires_in=lease_seconds,
        heartbeat_every=lease_seconds / _BEATS,
        job=TrialJob(
            study_id=study.id,
            study_name=study.name,
            uid=trial.uid,
            number=trial.number,
            kind=trial.kind,
            origin=trial.origin,
            attempt=trial.attempts,
            seed=trial.seed,
            definition=study.parsed(),
            weights=trial.weights,
            shares=trial.shares,
            start=study.start(),
            resume=trial.resume(),
        ),
    )
