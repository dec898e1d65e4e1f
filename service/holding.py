"""The attempt behind a lease: who holds a trial, and what those hear who no longer do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from service import trail
from service.contract.errors import LeaseLost
from service.contract.trial import Action, Verdict
from service.db import clock, set_now
from service.models import Attempt, Report, Study, Trial, Worker
from service.states import heard_from

_END_ACTIONS = {"pruned": Action.PRUNE, "cancelled": Action.STOP}
_HELD, _RUNGS = "srtune.held", "srtune.rungs"
#: JSON that hardly any message about a lease is about; read when it is looked at.
_SPARED = (
    defer(Study.definition),
    defer(Study.calibration),
    defer(Trial.coordinates),
    defer(Trial.shares),
    defer(Trial.weights),
)


@dataclass(frozen=True)
class Held:
    """An attempt with its trial, study and worker; `over` once it has ended, however."""

    study: Study
    trial: Trial
    attempt: Attempt
    worker: Worker

    @property
    def over(self) -> bool:
        return self.attempt.ended is not None


def load(session: Session, lease_ids: Iterable[str], *, rungs: bool = False) -> None:
    """Read and lock what these leases are about, for `held_by` and (on request) `rungs_of`.

    Studies are locked in the order of their ids, then their trials: whoever changes a trial holds
    its study, so one order of locks suffices against deadlocks. Attempts are locked with them, or
    a wait for the study's lock would show them as they were before the wait.
    """
    wanted = set(lease_ids)
    statement = (
        select(Study, Trial, Attempt, Worker, clock(session))
        .join(Trial, Trial.study_id == Study.id)
        .join(Attempt, Attempt.trial_uid == Trial.uid)
        .join(Worker, Worker.id == Attempt.worker_id)
        .where(Attempt.lease_id.in_(wanted))
        .order_by(Study.id, Trial.number, Attempt.token)
        .with_for_update(of=[Study, Trial, Attempt])
        .options(*_SPARED)
        .execution_options(populate_existing=True)
    )
    found: dict[str, Held | None] = dict.fromkeys(wanted)
    for study, trial, attempt, worker, at in session.execute(statement):
        found[attempt.lease_id] = Held(study, trial, attempt, worker)
        set_now(session, at)
    session.info.setdefault(_HELD, {}).update(found)
    if rungs:
        _load_rungs(session, {held.trial.uid for held in found.values() if held is not None})


def held_by(session: Session, lease_id: str, token: int) -> Held:
    """The attempt behind a lease, its study locked; LeaseLost for a lease nobody was given."""
    if lease_id not in session.info.get(_HELD, {}):
        load(session, [lease_id])
    held: Held | None = session.info[_HELD][lease_id]
    if held is None:
        raise LeaseLost(f"there is no lease {lease_id}; its study may be deleted; ask for another")
    trail.note(study=held.study.id, trial=held.trial.uid, attempt=held.attempt.token)
    if held.attempt.token != token:
        raise LeaseLost(f"token {token} does not belong to lease {lease_id}; ask for another lease")
    return held


def worker_of(session: Session, lease_id: str) -> Worker | None:
    """Who was given a lease; None if nobody was."""
    if lease_id not in session.info.get(_HELD, {}):
        load(session, [lease_id])
    held: Held | None = session.info[_HELD][lease_id]
    return None if held is None else held.worker


@dataclass(frozen=True)
class Answered:
    """What a worker was told about a report."""

    token: int
    verdict: str
    reason: str


def rungs_of(session: Session, trial: Trial) -> dict[int, Answered]:
    """What was answered to a trial's reports, by step; whoever adds a report adds it here, too."""
    if trial.uid not in session.info.get(_RUNGS, {}):
        _load_rungs(session, {trial.uid})
    rungs: dict[int, Answered] = session.info[_RUNGS][trial.uid]
    return rungs


def parting(held: Held) -> Verdict:
    """What a worker hears that still trains a trial which was ended for it."""
    action = _END_ACTIONS.get(held.attempt.outcome)
    if action is None:
        raise lost(held)
    return Verdict(action=action, reason=held.attempt.reason)


def repeated(held: Held, *outcomes: str) -> bool:
    """Whether one of these ends was recorded before; LeaseLost if the attempt ended otherwise."""
    if not held.over:
        return False
    if held.attempt.outcome not in outcomes:
        raise lost(held)
    return True


def lost(held: Held) -> LeaseLost:
    """What a worker hears whose attempt is over."""
    return LeaseLost(
        f"the lease {held.attempt.lease_id} of trial {held.trial.uid} is over "
        f"({held.attempt.outcome}); stop training it"
    )


def hear(session: Session, held: Held) -> None:
    """Note that the attempt's worker spoke."""
    heard_from(session, held.worker)


def _load_rungs(session: Session, uids: set[str]) -> None:
    rungs: dict[str, dict[int, Answered]] = {uid: {} for uid in uids}
    answered = select(Report.trial_uid, Report.step, Report.token, Report.verdict, Report.reason)
    for uid, step, token, verdict, reason in session.execute(
        answered.where(Report.trial_uid.in_(uids))
    ):
        rungs[uid][step] = Answered(token, verdict, reason)
    session.info.setdefault(_RUNGS, {}).update(rungs)
