"""The attempt behind a lease: who holds a trial, and what those hear who no longer do."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.errors import LeaseLost, StudyNotFound
from service.contract.trial import Action, Verdict
from service.models import Attempt, Study, Trial, Worker
from service.states import heard_from, locked

_END_ACTIONS = {"pruned": Action.PRUNE, "cancelled": Action.STOP}


@dataclass(frozen=True)
class Held:
    """An attempt with its trial and its study; `over` once it has ended, however."""

    study: Study
    trial: Trial
    attempt: Attempt

    @property
    def over(self) -> bool:
        return self.attempt.ended is not None


def held_by(session: Session, lease_id: str, token: int) -> Held:
    """The attempt behind a lease, its study locked; LeaseLost for a lease nobody was given."""
    found = session.execute(
        select(Attempt, Trial.study_id)
        .join(Trial, Trial.uid == Attempt.trial_uid)
        .where(Attempt.lease_id == lease_id)
    ).one_or_none()
    if found is None:
        raise LeaseLost(f"there is no lease {lease_id}; its study may be deleted; ask for another")
    attempt, study_id = found
    if attempt.token != token:
        raise LeaseLost(f"token {token} does not belong to lease {lease_id}; ask for another lease")
    try:
        study = locked(session, study_id)
    except StudyNotFound as error:
        raise LeaseLost(f"the study of lease {lease_id} was just deleted; stop training") from error
    trial = session.get_one(Trial, attempt.trial_uid, with_for_update=True, populate_existing=True)
    # Somebody may have ended it while we waited for the lock.
    session.refresh(attempt)
    return Held(study, trial, attempt)


def parting(held: Held) -> Verdict:
    """What a worker hears that still trains a trial which was ended for it."""
    action = _END_ACTIONS.get(held.attempt.outcome)
    if action is None:
        raise _lost(held)
    return Verdict(action=action, reason=held.attempt.reason)


def repeated(held: Held, outcome: str) -> bool:
    """Whether this very end was recorded before; LeaseLost if the attempt ended otherwise."""
    if not held.over:
        return False
    if held.attempt.outcome != outcome:
        raise _lost(held)
    return True


def _lost(held: Held) -> LeaseLost:
    return LeaseLost(
        f"the lease {held.attempt.lease_id} of trial {held.trial.uid} is over "
        f"({held.attempt.outcome}); stop training it"
    )


def hear(session: Session, held: Held) -> None:
    """Note that the attempt's worker spoke."""
    heard_from(session, session.get_one(Worker, held.attempt.worker_id))
