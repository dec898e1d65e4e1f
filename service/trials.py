"""A trial's life while a worker holds it: beats, reports, and the ways it ends.

Every write names its lease and fencing token. A repeat of a write gets the first answer; a write of
a lease that is over, or of somebody who never held it, raises LeaseLost and changes nothing.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from service.blobs import Blobs
from service.bulk import insert_late
from service.contract.errors import IllegalMove, InvalidRequest
from service.contract.trial import (
    Action,
    Blob,
    Checkpoint,
    Heartbeat,
    Metrics,
    Release,
    Report,
    Result,
    Rung,
    TrialKind,
    TrialState,
    Verdict,
)
from service.contract.vocabulary import Vocabulary
from service.db import now
from service.holding import Answered, Held, hear, held_by, parting, repeated, rungs_of
from service.models import Report as ReportRow
from service.models import Study, Trial
from service.phases import advance
from service.scores import decision
from service.states import move_trial, touch


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

    The first report of a step stays; its repeats get its verdict again. Of several rungs in one
    report each is judged as if it had come by itself, until one ends the trial.
    """
    held = held_by(session, lease_id, report.token)
    rungs = rungs_of(session, held.trial)
    if held.over:
        return _late_repeat(held, rungs.get(report.step))
    if report.checkpoint is not None:
        _keep_resume(held.trial, report.checkpoint, blobs)
    _prolong(session, held, lease_seconds)
    verdict = Verdict(action=Action.CONTINUE, expires_in=lease_seconds)
    new = False
    for rung in [*report.earlier, Rung(step=report.step, metrics=report.metrics)]:
        known = rungs.get(rung.step)
        if known is not None:
            action = Action(known.verdict)
            verdict = Verdict(action=action, reason=known.reason, expires_in=lease_seconds)
            continue
        if not new:  # the rungs of one report are one piece of news
            touch(held.study, held.trial)
            new = True
        verdict = _judge(session, held, rung, vocabulary, lease_seconds)
        _record(session, held, rung, verdict)
        rungs[rung.step] = Answered(held.attempt.token, verdict.action.value, verdict.reason)
        if verdict.action is Action.PRUNE:
            move_trial(session, held.trial, TrialState.PRUNED, verdict.reason)
            advance(session, held.study, vocabulary)
            return verdict
    return verdict


def complete(
    session: Session, lease_id: str, result: Result, *, vocabulary: Vocabulary, blobs: Blobs
) -> None:
    """Record the result of a trial; exactly one is ever accepted."""
    held = held_by(session, lease_id, result.token)
    if repeated(held, "complete"):
        _check_same(held.trial, result)
        return
    study, trial = held.study, held.trial
    if result.weights_blob is not None:
        _check_stored(result.weights_blob, "weights_blob", blobs)
    if trial.kind is TrialKind.START:
        _record_start(study, result, blobs)
    else:
        _check_objectives(study, result.metrics)
    if result.weights_blob is not None:
        trial.weights_sha256 = result.weights_blob.sha256
        trial.weights_size = result.weights_blob.size
    trial.metrics = result.metrics
    trial.step = result.step
    trial.train_seconds = result.train_seconds
    move_trial(session, trial, TrialState.COMPLETE)
    hear(session, held)
    # A worker that brings a trial to its end is not the fault of what failed on it before.
    held.worker.failures = 0
    advance(session, study, vocabulary)


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


def _check_same(trial: Trial, result: Result) -> None:
    if trial.metrics != result.metrics or trial.step != result.step:
        raise IllegalMove(
            f"trial {trial.uid} has its result already, with other scores; the first one stays"
        )


def _late_repeat(held: Held, stored: Answered | None) -> Verdict:
    """The first answer again, for a report that comes twice and late; LeaseLost for a new one.

    The step may have been reported first by an earlier attempt: this one's report was answered, too.
    """
    if held.attempt.outcome != "complete" or stored is None:
        return parting(held)
    return Verdict(action=Action(stored.verdict), reason=stored.reason)


def _record(session: Session, held: Held, rung: Rung, verdict: Verdict) -> None:
    trial = held.trial
    trial.step = max(trial.step, rung.step)
    insert_late(
        session,
        ReportRow,
        {
            "trial_uid": trial.uid,
            "step": rung.step,
            "study_id": held.study.id,
            "revision": held.study.revision,
            "token": held.attempt.token,
            "metrics": rung.metrics,
            "verdict": verdict.action.value,
            "reason": verdict.reason,
            "at": now(session),
        },
    )


def _judge(
    session: Session, held: Held, rung: Rung, vocabulary: Vocabulary, lease_seconds: float
) -> Verdict:
    """Whether a proposed trial can still win; all others are compared with, so trained through."""
    if held.trial.origin == "sampler":
        verdict = decision(
            session,
            held.study,
            vocabulary,
            number=held.trial.number,
            step=rung.step,
            metrics=rung.metrics,
        )
        if verdict.prune:
            return Verdict(action=Action.PRUNE, reason=verdict.reason)
    return Verdict(action=Action.CONTINUE, expires_in=lease_seconds)
