"""Which studies a worker's machine is fit for, and how many trials of one fit on it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.study import StudyDefinition
from service.contract.trial import TrialState
from service.models import Fit, Study, Trial, Worker

_GB = 1e9


def suits(worker: Worker, definition: StudyDefinition) -> bool:
    """Whether a worker carries the study's labels and has the device memory it asks for."""
    if not definition.labels.items() <= worker.labels.items():
        return False
    if not definition.memory_gb:
        return True
    smallest = min((device["memory"] for device in worker.devices), default=0)
    return bool(smallest >= definition.memory_gb * _GB)


def fitting(session: Session, study: Study, worker: Worker, *, wanted: int) -> int:
    """How many of the wanted trials this worker's device has memory for beside what it holds."""
    if worker.slots == 1 and wanted == 1:
        return 1
    fit = session.get(Fit, (study.id, device_of(worker)))
    return wanted if fit is None else min(fit.trials - held_of(session, study, worker), wanted)


def held_of(session: Session, study: Study, worker: Worker) -> int:
    """How many of the study's trials this worker trains now."""
    return session.execute(
        select(func.count()).where(
            Trial.study_id == study.id,
            Trial.state == TrialState.LEASED,
            Trial.worker_id == worker.id,
        )
    ).scalar_one()


def make_room(session: Session, study: Study, worker: Worker, *, together: int) -> None:
    """Remember that so many of the study's trials at once were too many for this device."""
    device, fewer = device_of(worker), max(together // 2, 1)
    fit = session.get(Fit, (study.id, device))
    if fit is None:
        session.add(Fit(study_id=study.id, device=device, trials=fewer))
        session.flush()
    else:
        fit.trials = min(fit.trials, fewer)


def device_of(worker: Worker) -> str:
    """What kind of device a worker trains on, as one word."""
    kinds = sorted({f"{device['name']}/{device['memory']}" for device in worker.devices})
    return "+".join(kinds)
