"""What passes between service and worker about the worker itself."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerState(StrEnum):
    """Whether a worker gets work."""

    ACTIVE = "active"  #: pulls trials
    DRAINING = "draining"  #: finishes or gives back what it holds, gets nothing new
    QUARANTINED = "quarantined"  #: failed one trial after the other; gets nothing until it restarts
    GONE = "gone"  #: not heard of for a while


class Device(BaseModel):
    """Where a worker trains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(description="`cpu` or `cuda`.")
    name: str = Field(description="As torch calls it.")
    memory: int = Field(default=0, ge=0, description="Bytes.")


class Registration(_Message):
    """A worker introduces itself; the same name on the same host gets the same id back."""

    name: str = Field(min_length=1, max_length=128, description="Unique per worker process.")
    host: str = ""
    devices: list[Device]
    slots: int = Field(default=1, ge=1, le=64, description="Trials trained side by side.")
    labels: dict[str, str] = Field(default_factory=dict)
    version: str = ""


class Registered(_Message):
    """The service knows the worker now."""

    id: str
    poll_every: float = Field(description="Seconds to wait when there is no work.")
    tracking_uri: str | None = Field(
        description="Where MLflow is: a path on this server (`/mlflow`) or a whole URL; none: off."
    )


class WorkerView(_Message):
    """A worker as the outside sees it."""

    id: str
    name: str
    host: str
    state: WorkerState
    reason: str = Field(default="", description="Why it is quarantined.")
    devices: list[Device]
    slots: int
    labels: dict[str, str]
    last_seen: float
    failures: int = Field(default=0, description="Trials in a row that failed by its fault.")
    steps_per_second: float
    holds: list[str] = Field(description="Trials it trains now, as `study#number`.")
