"""A trial's life while a worker holds it: beats, reports, and the ways it ends.

Every write names its lease and fencing token. A repeat of a write gets the first answer; a write of
a lease that is over, or of somebody who never held it, raises LeaseLost and changes nothing.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.blobs import Blobs
from service.contract.errors import InvalidRequest
from service.contract.trial import (
    Action,
    Blob,
    Checkpoint,
    Failure,
    FailureCause,
    Heartbeat,
    Metrics,
    Release,
    Report,
    Result,
    TrialKind,
    TrialState,
    Verdict,
)
from service.contract.vocabulary import Vocabulary
from service.db import now
from service.holding import Held, hear, held_by, parting, repeated
from service.models import Attempt, Study, Trial, Worker
from service.models import Report as ReportRow
from service.phases import advance
from service.scores import scores_of
from service.states import move_trial, touch
from service.tuner import decide

_RETRIED = frozenset({FailureCause.OUT_OF_MEMORY, FailureCause.STORAGE, FailureCause.ERROR})
#: Seconds before the second attempt; doubled with every further one.
BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0


def heartbeat(session: Session, lease_id: str, beat: Heartbeat, *, lease_seconds: float) -> Verdict:
    """Keep the lease for another `lease_seconds`, or hear that the trial is over."""
    held = held_by(session, lease_id, beat.token)
    if held.over:
        return parting(held)
    # A beat is no news: it does not count up the revision, or every page would reload on it.
    held.trial.step = max(held.trial.step, beat.step)
    held.trial.steps_per_second = beat.steps_per_second
    _prolong(session, held, lease_seconds)
    return Verdict(action=Action.CONTINUE, expires_in=lease_seconds)


def report(
    session: Session,
    lease_id: str,
    report: Report,
    *,
    vocabulary: Vocabulary,
    blobs: Blobs,
    lease_seconds: float,
) -> Verdict:
    """Record scores and resume point together, and decide whether the trial goes on.

    The first report of a step stays; its repeats get its verdict again.
    """
    held = held_by(session, lease_id, report.token)
    stored = session.get(ReportRow, (held.trial.uid, report.step))
    if held.over:
        late_repeat = stored is not None and stored.token == report.token
        if stored is None or not late_repeat or held.attempt.outcome != "complete":
            return parting(held)
        return Verdict(action=Action(stored.verdict), reason=stored.reason)
    if report.checkpoint is not None:
        _keep_resume(held.trial, report.checkpoint, blobs)
    if stored is not None:
        _prolong(session, held, lease_seconds)
        return Verdict(
            action=Action(stored.verdict), reason=stored.reason, expires_in=lease_seconds
        )
    row = ReportRow(
        trial_uid=held.trial.uid,
        step=report.step,
        token=report.token,
        metrics=report.metrics,
        verdict=Action.CONTINUE.value,
        at=now(session),
    )
    session.add(row)
    held.trial.step = max(held.trial.step, report.step)
    touch(held.study, held.trial)
    _prolong(session, held, lease_seconds)
    session.flush()
    verdict = _judge(session, held, report, vocabulary, lease_seconds)
    row.verdict, row.reason = verdict.action.value, verdict.reason
    if verdict.action is Action.PRUNE:
        move_trial(session, held.trial, TrialState.PRUNED, verdict.reason)
        session.flush()
        advance(session, held.study, vocabulary)
    return verdict


def complete(
    session: Session, lease_id: str, result: Result, *, vocabulary: Vocabulary, blobs: Blobs
) -> None:
    """Record the result of a trial; exactly one is ever accepted."""
    held = held_by(session, lease_id, result.token)
    if repeated(held, "complete"):
        return
    study, trial = held.study, held.trial
    if trial.kind is TrialKind.START:
        _record_start(study, result, blobs)
    else:
        _check_objectives(study, result.metrics)
    if result.weights_blob is not None:
        _check_stored(result.weights_blob, "weights_blob", blobs)
        trial.weights_sha256 = result.weights_blob.sha256
        trial.weights_size = result.weights_blob.size
    trial.metrics = result.metrics
    trial.step = result.step
    trial.train_seconds = result.train_seconds
    move_trial(session, trial, TrialState.COMPLETE)
    hear(session, held)
    session.flush()
    advance(session, study, vocabulary)


def fail(
    session: Session,
    lease_id: str,
    failure: Failure,
    *,
    vocabulary: Vocabulary,
    max_attempts: int,
) -> None:
    """End an attempt without a result: another follows, unless the cause or the number forbids."""
    held = held_by(session, lease_id, failure.token)
    if repeated(held, "failed"):
        return
    reason = f"{failure.cause.value}: {failure.message}"
    hear(session, held)
    _retry(
        session,
        held,
        reason,
        outcome="failed",
        vocabulary=vocabulary,
        allowed=max_attempts if failure.cause in _RETRIED else 0,
    )


def release(session: Session, lease_id: str, release: Release, *, blobs: Blobs) -> None:
    """Take a trial back unfinished; the attempt does not count against the limit."""
    held = held_by(session, lease_id, release.token)
    if repeated(held, "released"):
        return
    if release.checkpoint is not None:
        _keep_resume(held.trial, release.checkpoint, blobs)
    held.trial.attempts -= 1
    held.trial.not_before = 0.0
    move_trial(session, held.trial, TrialState.QUEUED, release.reason, outcome="released")
    hear(session, held)


def lapse(session: Session, uid: str, *, vocabulary: Vocabulary, max_attempts: int) -> bool:
    """Take a trial from a worker that was not heard of in time; False if it was, after all."""
    lease_id = session.scalar(select(Trial.lease_id).where(Trial.uid == uid))
    token = session.scalar(select(Attempt.token).where(Attempt.lease_id == lease_id))
    if lease_id is None or token is None:
        return False
    held = held_by(session, lease_id, token)
    if held.over or held.trial.expires is None or held.trial.expires > now(session):
        return False
    worker = session.get_one(Worker, held.attempt.worker_id)
    reason = f"worker {worker.name} was not heard of in time"
    _retry(session, held, reason, outcome="lapsed", vocabulary=vocabulary, allowed=max_attempts)
    return True


def _prolong(session: Session, held: Held, lease_seconds: float) -> None:
    held.trial.expires = now(session) + lease_seconds
    hear(session, held)


def _keep_resume(trial: Trial, checkpoint: Checkpoint, blobs: Blobs) -> None:
    _check_stored(checkpoint.blob, "checkpoint", blobs)
    if trial.resume_step is None or checkpoint.step >= trial.resume_step:
        trial.resume_sha256 = checkpoint.blob.sha256
        trial.resume_size = checkpoint.blob.size
        trial.resume_step = checkpoint.step


def _check_stored(blob: Blob, field: str, blobs: Blobs) -> None:
    if not blobs.has(blob.sha256):
        raise InvalidRequest(
            f"{field} names {blob.sha256}, which is not stored; PUT /blobs/{blob.sha256} first"
        )


def _check_objectives(study: Study, metrics: Metrics) -> None:
    missing = [name for name in study.parsed().objectives if name not in metrics]
    if missing:
        raise InvalidRequest(f"metrics lack the objectives {', '.join(missing)}; score them")


def _record_start(study: Study, result: Result, blobs: Blobs) -> None:
    if result.start is None or result.calibration is None:
        raise InvalidRequest("a start job's result needs both `start` and `calibration`")
    _check_stored(result.start, "start", blobs)
    study.start_sha256, study.start_size = result.start.sha256, result.start.size
    study.calibration = result.calibration.model_dump(mode="json")


def _judge(
    session: Session, held: Held, report: Report, vocabulary: Vocabulary, lease_seconds: float
) -> Verdict:
    """Whether a proposed trial can still win; all others are compared with, so trained through."""
    if held.trial.origin == "sampler":
        scores = scores_of(session, held.study)
        decision = decide(
            held.study.parsed(),
            vocabulary,
            number=held.trial.number,
            step=report.step,
            rungs=scores.rungs,
            finals=scores.finals,
        )
        if decision.prune:
            return Verdict(action=Action.PRUNE, reason=decision.reason)
    return Verdict(action=Action.CONTINUE, expires_in=lease_seconds)


def _retry(
    session: Session,
    held: Held,
    reason: str,
    *,
    outcome: str,
    vocabulary: Vocabulary,
    allowed: int,
) -> None:
    """Queue the trial for another attempt, or fail it when the allowed ones are used up."""
    trial = held.trial
    if trial.attempts < allowed:
        pause = min(BACK_OFF * 2.0 ** (trial.attempts - 1), _LONGEST_BACK_OFF)
        trial.not_before = now(session) + (0.0 if outcome == "lapsed" else pause)
        move_trial(session, trial, TrialState.QUEUED, reason, outcome=outcome)
        return
    if allowed:
        reason = f"{reason} ({trial.attempts} attempts, the last one counted)"
    move_trial(session, trial, TrialState.FAILED, reason, outcome=outcome)
    session.flush()
    advance(session, held.study, vocabulary)
