"""What passes between service and worker about one training: states, lease, report, result."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.contract.lint import LintReport
from service.contract.study import StudyDefinition

Number = Annotated[float, Field(allow_inf_nan=False)]
Metrics = dict[str, Number]


class StudyState(StrEnum):
    """Where a study is in its life."""

    DRAFT = "draft"  #: stored, not yet offered to workers
    ACTIVE = "active"  #: trials are proposed and leased
    PAUSED = "paused"  #: nothing new is leased; running trials go on
    CONFIRMING = "confirming"  #: search is over; the best are repeated with other seeds
    FINISHED = "finished"  #: the budget is spent, the results are in
    STOPPED = "stopped"  #: ended by a person
    FAILED = "failed"  #: cannot go on; the reason says why


class TrialState(StrEnum):
    """Where a trial is in its life."""

    QUEUED = "queued"  #: proposed, waits for a worker
    LEASED = "leased"  #: a worker trains it
    COMPLETE = "complete"  #: trained to the end; the result is recorded
    PRUNED = "pruned"  #: stopped early because it could not win
    DIVERGED = "diverged"  #: a loss became NaN or infinite: a finding about the weights, no error
    FAILED = "failed"  #: cannot be trained; the reason says why
    CANCELLED = "cancelled"  #: ended by a person or with its study


class TrialKind(StrEnum):
    """Why a trial exists."""

    START = "start"  #: makes the shared pre-trained start and the calibration; number 0
    SEARCH = "search"  #: a point of the space: proposed, recipe or a user's own
    CONFIRM = "confirm"  #: a repeat with another seed


class FailureCause(StrEnum):
    """Why an attempt ended without a result; decides whether another is made."""

    DIVERGED = "diverged"  #: a loss became NaN or infinite: the trial's result, not retried
    OUT_OF_MEMORY = "out_of_memory"  #: retried with fewer trials side by side
    DATA = "data"  #: photos missing, corrupt or too small: not retried
    DEFINITION = "definition"  #: the study asks for what this code cannot build: not retried
    STORAGE = "storage"  #: the worker could not store a checkpoint (disk full): retried
    ERROR = "error"  #: anything else: retried


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Blob(_Message):
    """A stored object, named by its content."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, lt=2**63)


class Checkpoint(_Message):
    """A training state another worker can go on from."""

    blob: Blob
    step: int = Field(ge=0, lt=2**31, description="Optimiser steps already taken.")


class Calibration(_Message):
    """Gradient norms at the shared start: what turns shares into raw weights."""

    norms: dict[str, Number] = Field(description="‖∂Lᵢ/∂θ‖ per term, mean over the batches.")
    values: dict[str, Number] = Field(description="Lᵢ per term, mean over the batches.")
    batches: int
    lint: LintReport | None = Field(
        default=None, description="What the loss linter found there; errors end the study."
    )


class TrackingRun(_Message):
    """Where a trial's pages are in MLflow."""

    experiment_id: str
    run_id: str


class TrialJob(_Message):
    """Everything a worker needs to train one trial."""

    study_id: str
    study_name: str
    uid: str = Field(description="The trial's own id; names its run in MLflow.")
    number: int
    kind: TrialKind
    origin: str = Field(description="`start`, `sampler`, `recipe:esrgan`, `user`, `confirm:7`.")
    attempt: int = Field(ge=1)
    seed: int
    definition: StudyDefinition
    weights: dict[str, float] = Field(description="Raw weight per term; empty for the start.")
    shares: dict[str, float] = Field(description="Gradient share per term at the start.")
    start: Blob | None = Field(default=None, description="The shared start; none while it is made.")
    resume: Checkpoint | None = Field(default=None, description="Where an earlier attempt got to.")


class Lease(_Message):
    """A worker's right to one attempt, until it expires."""

    id: str
    token: int = Field(description="Fencing token: grows with every lease of the trial.")
    expires_in: float = Field(description="Seconds, counted from the answer.")
    heartbeat_every: float = Field(description="Seconds between heartbeats.")
    job: TrialJob


class LeaseRequest(_Message):
    """`I have room`: a worker asks for trials."""

    worker: str = Field(description="Id from the registration.", max_length=64)
    capacity: int = Field(default=1, ge=1, le=64, description="Trials wanted, all of one study.")
    request: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="A word of the worker's own for this request; its repeat gets the same leases.",
    )
    cached: list[str] = Field(
        default_factory=list,
        max_length=64,
        description="Ids of studies whose photos and start this worker holds in memory.",
    )


class Action(StrEnum):
    """What the service wants a worker to do with a trial it holds."""

    CONTINUE = "continue"
    PRUNE = "prune"  #: stop; the report that got this answer has ended the trial
    STOP = "stop"  #: stop without a result; the trial was cancelled


class Verdict(_Message):
    """The answer to a report or a heartbeat."""

    action: Action
    reason: str = ""
    expires_in: float = 0.0


class Heartbeat(_Message):
    """`Still here`: keeps the lease."""

    token: int = Field(ge=0, lt=2**63)
    step: int = Field(ge=0, lt=2**31)
    steps_per_second: float = Field(default=0.0, ge=0)


class Rung(_Message):
    """Scores at one step."""

    step: int = Field(ge=0, lt=2**31)
    metrics: Metrics


class Report(_Message):
    """Scores at a rung, with the checkpoint that belongs to them."""

    token: int = Field(ge=0, lt=2**63)
    step: int = Field(ge=0, lt=2**31)
    metrics: Metrics
    checkpoint: Checkpoint | None = None
    earlier: list[Rung] = Field(
        default_factory=list,
        max_length=1000,
        description="Rungs before this one that could not be reported yet, in order of steps.",
    )


class Result(_Message):
    """The end of a trial that was trained through."""

    token: int = Field(ge=0, lt=2**63)
    step: int = Field(ge=0, lt=2**31)
    metrics: Metrics
    weights_blob: Blob | None = Field(
        default=None, description="The scored generator, safetensors."
    )
    start: Blob | None = Field(
        default=None, description="Of a start job: what the others begin with."
    )
    calibration: Calibration | None = Field(default=None, description="Of a start job.")
    train_seconds: float = Field(default=0.0, ge=0)


class Failure(_Message):
    """The end of an attempt without a result."""

    token: int = Field(ge=0, lt=2**63)
    cause: FailureCause
    message: str = Field(max_length=4000)
    step: int = Field(default=0, ge=0, lt=2**31)


class Release(_Message):
    """A worker gives a trial back, unfinished and in good order."""

    token: int = Field(ge=0, lt=2**63)
    checkpoint: Checkpoint | None = None
    reason: str = ""


class AttemptView(_Message):
    """One worker's try at a trial."""

    token: int
    worker: str
    started: float = Field(description="Unix seconds, the database's clock.")
    ended: float | None
    outcome: str = Field(
        description="running, complete, pruned, diverged, failed, released, lapsed, cancelled."
    )
    cause: FailureCause | None = Field(default=None, description="Of a failure.")
    reason: str = ""
    together: int = Field(default=1, description="Trials that its worker held at its start.")
    resumed_step: int = Field(default=0, description="The step it went on from.")


class TrialView(_Message):
    """A trial as the outside sees it."""

    study_id: str
    uid: str
    number: int
    kind: TrialKind
    origin: str
    note: str = Field(default="", description="How a recipe was translated, and where not exactly.")
    state: TrialState
    reason: str
    seed: int
    shares: dict[str, float]
    weights: dict[str, float]
    metrics: Metrics = Field(description="Final scores; empty until complete.")
    rungs: dict[int, Metrics] = Field(description="Scores by step.")
    step: int
    steps: int
    steps_per_second: float
    attempts: list[AttemptView]
    weights_blob: Blob | None
    created: float
    finished: float | None
    train_seconds: float
    tracking: TrackingRun | None


class Transfer(_Message):
    """How well a rung's ranking agrees with the ranking at the end."""

    step: int
    trials: int
    correlation: dict[str, float | None] = Field(description="Spearman's ρ per objective.")


class Progress(_Message):
    """A study in numbers."""

    states: dict[TrialState, int]
    budget_trials: int
    done_trials: int
    gpu_hours: float
    seconds_left: float | None = Field(description="Estimate; none before anything finished.")


class StudyView(_Message):
    """A study as the outside sees it."""

    id: str
    name: str
    owner: str = "local"
    state: StudyState
    reason: str
    created: float
    started: float | None
    finished: float | None
    revision: int = Field(description="Grows with every change; compare to see news.")
    progress: Progress
    calibration: Calibration | None
    transfer: list[Transfer]
    experiment_id: str | None
    tracking_url: str | None
    definition: StudyDefinition


class Front(_Message):
    """The non-dominated trials, in order of the first objective, best last."""

    objectives: list[str]
    directions: list[str]
    members: list[TrialView]
    dominated: list[TrialView] = Field(description="Complete trials that are not on the front.")


class Repeats(_Message):
    """A point trained with several seeds: what is more than luck."""

    number: int = Field(description="The trial that was repeated.")
    origin: str
    seeds: int = Field(description="Trainings, the first one included.")
    mean: Metrics
    deviation: Metrics = Field(description="Sample standard deviation.")


class Best(_Message):
    """One point of the front, and why this one."""

    trial: TrialView
    rule: str
    baselines: list[TrialView] = Field(description="The recipes at the same budget.")
    beats: dict[str, dict[str, bool]] = Field(
        description="Baseline origin → objective → whether the chosen trial is better."
    )
    repeats: list[Repeats] = Field(
        default_factory=list, description="Of the confirm phase, once repeats are complete."
    )


class Importance(_Message):
    """How much each term's share matters, per objective (PED-ANOVA)."""

    objective: str
    terms: dict[str, float]


class EnqueueRequest(_Message):
    """A user's own point to try."""

    weights: dict[str, Number] | None = Field(default=None, description="Raw weights per term.")
    shares: dict[str, Number] | None = Field(
        default=None, description="Or gradient shares per term."
    )
    note: str = ""


class Page(_Message):
    """A slice of a list; pass `next` as `cursor` to go on."""

    items: list[Any]
    next: str | None = None
