"""Which trials a worker gets next."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import case, select
from sqlalchemy.orm import Session, defer

from service.contract.access import LOCAL, Caller
from service.contract.errors import WorkerNotFound
from service.contract.trial import Lease, LeaseRequest, StudyState, TrialJob, TrialState
from service.contract.worker import WorkerState
from service.db import clock, lock_all, now, set_now
from service.fair import Turn, in_order, read_turns
from service.models import Attempt, Study, Trial, Worker, definition_of
from service.ownership import check_speaks
from service.phases import overspent
from service.placement import fitting, held_of, suits
from service.polling import idle_after, poll_after
from service.quotas import room_of
from service.states import heard_from, move_trial

#: Beats a worker may miss before its lease lapses.
_BEATS = 6.0
_ROUND = "srtune.round"


@dataclass(frozen=True)
class Offer:
    """What a worker gets: trials of one study, or the seconds after which to ask again."""

    leases: list[Lease]
    poll_after: float = 0.0


@dataclass(frozen=True)
class _Grant:
    study: Study
    trial: Trial
    attempt: Attempt


@dataclass
class _Round:
    """What lease requests of one transaction share, so that each costs a part of a statement."""

    workers: dict[str, Worker]
    granted: dict[str, list[_Grant]]
    turns: list[Turn] | None = None
    wanted: int = 0  #: trials that all requests together ask for
    locked: set[str] = field(default_factory=set)  #: studies whose rows this transaction holds
    waiting: dict[str, deque[Trial]] = field(default_factory=dict)


def load(session: Session, requests: Sequence[LeaseRequest]) -> None:
    """Begin a round of leases for these requests."""
    ids = {request.worker for request in requests}
    words = sorted({word for request in requests if (word := _word(request)) is not None})
    if words:
        # A repeat must see what the first request got, on whichever replica that was.
        lock_all(session, [f"lease:{word}" for word in words])
    workers: dict[str, Worker] = {}
    for worker, at in session.execute(
        select(Worker, clock(session)).where(Worker.id.in_(ids)).order_by(Worker.id)
    ):
        set_now(session, at)
        workers[worker.id] = worker
    session.info[_ROUND] = _Round(
        workers=workers,
        granted=_granted(session, words),
        wanted=sum(request.capacity for request in requests),
    )


def lease(
    session: Session, request: LeaseRequest, *, lease_seconds: float, caller: Caller = LOCAL
) -> Offer:
    """Up to `capacity` trials of one study for this worker.

    The most deserving study first (see `fair`); within a study interrupted trials first, then in
    order of number. A repeated request (the same word) gets its first leases again.
    """
    if _ROUND not in session.info:
        load(session, [request])
    round_: _Round = session.info[_ROUND]
    worker = round_.workers.get(request.worker)
    if worker is None:
        raise WorkerNotFound(f"no worker has the id {request.worker}; register again")
    check_speaks(caller, worker)
    heard_from(session, worker)
    word = _word(request)
    if word is not None and word in round_.granted:
        return Offer([_answer(session, grant, lease_seconds) for grant in round_.granted[word]])
    if worker.state in (WorkerState.DRAINING, WorkerState.QUARANTINED):
        return Offer([], idle_after())
    if round_.turns is None:
        round_.turns = read_turns(session)
    turns = in_order(round_.turns, request.cached)
    for turn in turns:
        if not suits(worker, definition_of(session, turn.study_id)):
            continue
        study = _locked(session, round_, turn.study_id)
        trials = [] if study is None else _take(session, round_, study, turn, worker, request)
        if study is not None and trials:
            grants = _grant(session, study, trials, worker, word, lease_seconds)
            turn.take(study, len(trials))
            if word is not None:
                round_.granted[word] = grants
            return Offer([_answer(session, grant, lease_seconds) for grant in grants])
    return Offer([], poll_after(session, round_.turns))


def _word(request: LeaseRequest) -> str | None:
    """Words are the workers' own, so they are told apart by whose they are."""
    return None if request.request is None else f"{request.worker}:{request.request}"


def _granted(session: Session, words: Sequence[str]) -> dict[str, list[_Grant]]:
    """What these very requests were granted before."""
    granted: dict[str, list[_Grant]] = {}
    if words:
        for study, trial, attempt in session.execute(
            select(Study, Trial, Attempt)
            .join(Trial, Trial.study_id == Study.id)
            .join(Attempt, Attempt.trial_uid == Trial.uid)
            .where(Attempt.request.in_(words))
            .order_by(Trial.number)
        ):
            granted.setdefault(str(attempt.request), []).append(_Grant(study, trial, attempt))
    return granted


def _locked(session: Session, round_: _Round, study_id: str) -> Study | None:
    """The study's row, if it still gives work.

    Only the first study of a transaction is waited for: whoever holds one row and waits for another
    can deadlock.
    """
    if study_id in round_.locked:
        study = session.get(Study, study_id)
    else:
        study = session.scalars(
            select(Study)
            .where(Study.id == study_id)
            .options(defer(Study.definition), defer(Study.calibration))
            .with_for_update(skip_locked=bool(round_.locked))
            .execution_options(populate_existing=True)
        ).first()
    if study is None:
        return None
    round_.locked.add(study_id)
    return study if study.state in (StudyState.ACTIVE, StudyState.CONFIRMING) else None


def _take(
    session: Session,
    round_: _Round,
    study: Study,
    turn: Turn,
    worker: Worker,
    request: LeaseRequest,
) -> list[Trial]:
    """Trials to hand out now, within every limit; the study is locked, so its counts are exact."""
    definition, capacity = study.parsed(), request.capacity
    if definition.max_running is not None:
        capacity = min(capacity, definition.max_running - study.running)
    capacity = fitting(session, study, worker, wanted=capacity)
    if capacity > 0 and turn.limited:
        capacity = room_of(session, study.owner, wanted=capacity)
    if capacity < 1 or overspent(session, study, definition) is not None:
        return []
    if study.id not in round_.waiting:
        round_.waiting[study.id] = _waiting(session, study, round_.wanted)
    waiting = round_.waiting[study.id]
    return [waiting.popleft() for _ in range(min(capacity, len(waiting)))]


def _waiting(session: Session, study: Study, wanted: int) -> deque[Trial]:
    """The first trials of the study's queue, kept for this transaction."""
    # The clock again: the study's lock may have been waited for, and an attempt must not begin
    # before another has ended that held the lock meanwhile.
    found = select(Trial, clock(session)).where(
        Trial.study_id == study.id,
        Trial.state == TrialState.QUEUED,
        Trial.not_before <= now(session),
    )
    if study.interrupted:
        found = found.order_by(case((Trial.token > 0, 0), else_=1))
    rows = session.execute(
        found.order_by(Trial.number)
        .limit(wanted)
        .options(defer(Trial.coordinates), defer(Trial.metrics))
        .with_for_update(skip_locked=True, of=Trial)
        .execution_options(populate_existing=True)
    )
    waiting: deque[Trial] = deque()
    for trial, at in rows:
        set_now(session, at)
        waiting.append(trial)
    return waiting


def _grant(
    session: Session,
    study: Study,
    trials: list[Trial],
    worker: Worker,
    word: str | None,
    lease_seconds: float,
) -> list[_Grant]:
    at = now(session)
    together = len(trials) + (held_of(session, study, worker) if worker.slots > 1 else 0)
    if study.started is None:
        study.started = at
    grants = []
    for trial in trials:
        move_trial(session, trial, TrialState.LEASED)
        trial.token += 1
        trial.attempts += 1
        trial.lease_id = secrets.token_hex(12)
        trial.worker_id = worker.id
        trial.expires = at + lease_seconds
        trial.steps_per_second = 0.0
        attempt = Attempt(
            trial_uid=trial.uid,
            token=trial.token,
            lease_id=trial.lease_id,
            worker_id=worker.id,
            request=word,
            started=at,
            together=together,
            resumed_step=trial.resume_step or 0,
        )
        session.add(attempt)
        grants.append(_Grant(study, trial, attempt))
    return grants


def _answer(session: Session, grant: _Grant, lease_seconds: float) -> Lease:
    study, trial, attempt = grant.study, grant.trial, grant.attempt
    at = now(session)
    current = trial.token == attempt.token and trial.expires is not None
    return Lease(
        id=attempt.lease_id,
        token=attempt.token,
        # Of a repeated answer only what is left of it.
        expires_in=max((trial.expires or at) - at, 0.0) if current else 0.0,
        heartbeat_every=lease_seconds / _BEATS,
        job=TrialJob(
            study_id=study.id,
            study_name=study.name,
            uid=trial.uid,
            number=trial.number,
            kind=trial.kind,
            origin=trial.origin,
            attempt=max(trial.attempts, 1),
            seed=trial.seed,
            definition=study.parsed(),
            weights=trial.weights,
            shares=trial.shares,
            start=study.start(),
            resume=trial.resume(),
        ),
    )
