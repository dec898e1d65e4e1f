"""The tables: studies, trials, attempts, reports, workers, owners, and what guards the door.

A trial row is the truth about a trial; Optuna's memory and MLflow's pages are made from it.
Times are Unix seconds by the database's clock. `revision` counts changes of a study (for pages and
projections); `clock` counts leases and ends (for proposals that do not depend on timing).
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.contract.study import StudyDefinition
from service.contract.trial import Blob, Calibration, Checkpoint, StudyState, TrialKind, TrialState
from service.contract.worker import WorkerState
from service.db import Row

#: Definitions by study, which never change; parsing one takes longer than all else of a lease.
_parsed: dict[str, StudyDefinition] = {}
_PARSED = 4096


def definition_of(session: Session, study_id: str) -> StudyDefinition:
    """A study's definition without reading its row, if it was read before."""
    return _parsed.get(study_id) or session.get_one(Study, study_id).parsed()


class Study(Row):
    """A definition and how far it got."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[StudyState] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(default="")
    #: Who submitted it: the owner of the token, or "local" where there are none.
    owner: Mapped[str] = mapped_column(default="local", index=True)
    priority: Mapped[int] = mapped_column(default=0)
    weight: Mapped[float] = mapped_column(default=1.0)
    created: Mapped[float]
    started: Mapped[float | None]
    finished: Mapped[float | None]
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    clock: Mapped[int] = mapped_column(BigInteger, default=0)
    next_number: Mapped[int] = mapped_column(default=0)
    #: Counts that `states` and `queue` keep, so that no decision has to read all trials.
    searched: Mapped[int] = mapped_column(default=0)  #: trials that count against the budget
    unfinished: Mapped[int] = mapped_column(default=0)  #: trials queued or leased
    running: Mapped[int] = mapped_column(default=0)  #: trials leased
    interrupted: Mapped[int] = mapped_column(default=0)  #: trials queued again
    device_seconds: Mapped[float] = mapped_column(default=0.0)  #: of attempts that ended
    attempts_ended: Mapped[int] = mapped_column(default=0)
    #: Start-time fair queueing: virtual times of the last lease's start and end.
    fair_start: Mapped[float] = mapped_column(default=0.0)
    fair_end: Mapped[float] = mapped_column(default=0.0)
    #: Recipes still to be enqueued wait for the calibration; this says it was done.
    seeded: Mapped[bool] = mapped_column(default=False)
    calibration: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    start_sha256: Mapped[str | None]
    start_size: Mapped[int | None] = mapped_column(BigInteger)
    experiment_id: Mapped[str | None]
    told_revision: Mapped[int] = mapped_column(BigInteger, default=-1)

    def parsed(self) -> StudyDefinition:
        """The definition as its author's words mean it."""
        known = _parsed.get(self.id)
        if known is None:
            if len(_parsed) >= _PARSED:
                _parsed.clear()
            # From JSON, whose lists may stand for tuples; strict models refuse Python's.
            known = StudyDefinition.model_validate_json(json.dumps(self.definition))
            _parsed[self.id] = known
        return known

    def calibrated(self) -> Calibration | None:
        return None if self.calibration is None else Calibration.model_validate(self.calibration)

    def start(self) -> Blob | None:
        """What trials begin with; none until the start job is complete."""
        return _blob(self.start_sha256, self.start_size)


class Trial(Row):
    """One point of a study's space and its training."""

    __tablename__ = "trial"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        Index("ix_trial_queue", "state", "study_id", "number"),
        Index("ix_trial_news", "study_id", "revision"),
    )

    uid: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    kind: Mapped[TrialKind]
    origin: Mapped[str]
    note: Mapped[str] = mapped_column(default="")
    state: Mapped[TrialState]
    reason: Mapped[str] = mapped_column(default="")
    seed: Mapped[int]
    #: What the sampler proposed; none for points outside of its space.
    coordinates: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    shares: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    weights: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    metrics: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    step: Mapped[int] = mapped_column(default=0)
    steps_per_second: Mapped[float] = mapped_column(default=0.0)
    train_seconds: Mapped[float] = mapped_column(default=0.0)
    created: Mapped[float]
    finished: Mapped[float | None]
    #: Fencing token of the newest lease; a write with an older one changes nothing.
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_id: Mapped[str | None] = mapped_column(index=True)
    worker_id: Mapped[str | None]
    expires: Mapped[float | None]
    #: When the sampler thought of it, by the study's clock; none for other points.
    proposed_clock: Mapped[int | None] = mapped_column(BigInteger)
    #: Attempts that count against the limit; a release in good order, or one that the machine
    #: took away after some progress, does not.
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    leased_clock: Mapped[int | None] = mapped_column(BigInteger)
    finished_clock: Mapped[int | None] = mapped_column(BigInteger)
    resume_sha256: Mapped[str | None]
    resume_size: Mapped[int | None] = mapped_column(BigInteger)
    resume_step: Mapped[int | None]
    weights_sha256: Mapped[str | None]
    weights_size: Mapped[int | None] = mapped_column(BigInteger)
    #: Its page in the lab book; asked for at every write of a worker to its own.
    run_id: Mapped[str | None] = mapped_column(index=True)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    told_revision: Mapped[int] = mapped_column(BigInteger, default=-1)

    def resume(self) -> Checkpoint | None:
        """Where the next attempt goes on."""
        blob = _blob(self.resume_sha256, self.resume_size)
        if blob is None or self.resume_step is None:
            return None
        return Checkpoint(blob=blob, step=self.resume_step)

    def result_blob(self) -> Blob | None:
        """The scored generator, once complete."""
        return _blob(self.weights_sha256, self.weights_size)


class Attempt(Row):
    """One worker's try at a trial; kept for ever."""

    __tablename__ = "attempt"

    trial_uid: Mapped[str] = mapped_column(
        ForeignKey("trial.uid", ondelete="CASCADE"), primary_key=True
    )
    token: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    lease_id: Mapped[str] = mapped_column(unique=True)
    worker_id: Mapped[str] = mapped_column(index=True)
    #: The worker's word for the request this was granted to; its repeat gets this lease again.
    request: Mapped[str | None] = mapped_column(index=True)
    started: Mapped[float]
    #: Trials of the worker's that trained side by side with it at its lease, itself included.
    together: Mapped[int] = mapped_column(default=1)
    #: The step it went on from.
    resumed_step: Mapped[int] = mapped_column(default=0)
    ended: Mapped[float | None]
    outcome: Mapped[str] = mapped_column(default="running")
    cause: Mapped[str | None]
    reason: Mapped[str] = mapped_column(default="")


class Report(Row):
    """Scores of a trial at a step; the first report of a step stays."""

    __tablename__ = "report"
    __table_args__ = (Index("ix_report_news", "study_id", "revision"),)

    trial_uid: Mapped[str] = mapped_column(
        ForeignKey("trial.uid", ondelete="CASCADE"), primary_key=True
    )
    step: Mapped[int] = mapped_column(primary_key=True)
    #: For readers that follow a study by its revision.
    study_id: Mapped[str]
    revision: Mapped[int] = mapped_column(BigInteger)
    token: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[dict[str, float]] = mapped_column(JSON)
    verdict: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    at: Mapped[float]


class Worker(Row):
    """A process that trains."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    host: Mapped[str] = mapped_column(default="")
    devices: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    slots: Mapped[int]
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    version: Mapped[str] = mapped_column(default="")
    state: Mapped[WorkerState]
    reason: Mapped[str] = mapped_column(default="")
    last_seen: Mapped[float]
    #: Trials in a row that failed here by the worker's fault, not by their own.
    failures: Mapped[int] = mapped_column(default=0)
    #: The token it registered with; only that one, or an admin's, speaks for it.
    token_id: Mapped[str | None]


class Fit(Row):
    """How many trials of a study fit on a kind of device, learned from running out of memory."""

    __tablename__ = "fit"

    study_id: Mapped[str] = mapped_column(
        ForeignKey("study.id", ondelete="CASCADE"), primary_key=True
    )
    device: Mapped[str] = mapped_column(primary_key=True)
    trials: Mapped[int]


class Owner(Row):
    """Somebody whose studies share the fleet with others'; rows only for those with a quota."""

    __tablename__ = "owner"

    name: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    max_running: Mapped[int | None]
    gpu_hours: Mapped[float | None]
    #: Device seconds of studies that were deleted since; deleting must not refill a quota.
    deleted_seconds: Mapped[float] = mapped_column(default=0.0)


class Token(Row):
    """A bearer token; only its digest is stored."""

    __tablename__ = "token"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    #: What people and the audit log call it; no secret.
    id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    owner: Mapped[str] = mapped_column(default="local")
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[float]
    expires: Mapped[float | None]
    revoked: Mapped[bool] = mapped_column(default=False)
    last_used: Mapped[float | None]


class Idempotency(Row):
    """The first answer to a request that carried an Idempotency-Key."""

    __tablename__ = "idempotency"

    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created: Mapped[float]


class Audit(Row):
    """Who changed what: one row per change of state that a person or an operator made."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str]  #: the token's id, "local" without tokens, "service" by itself
    owner: Mapped[str]
    action: Mapped[str]  #: `study.create`, `token.revoke`, ...
    subject: Mapped[str] = mapped_column(index=True)
    detail: Mapped[str] = mapped_column(default="")
    request_id: Mapped[str] = mapped_column(default="")


def _blob(sha256: str | None, size: int | None) -> Blob | None:
    return None if sha256 is None or size is None else Blob(sha256=sha256, size=size)
