"""The workers: who they are, what they hold, and whether they are still there."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.access import LOCAL, Caller
from service.contract.errors import WorkerNotFound
from service.contract.trial import TrialState
from service.contract.worker import Device, Registration, WorkerState, WorkerView
from service.db import lock, now
from service.models import Study, Trial, Worker
from service.ownership import take
from service.states import heard_from

#: A worker is gone when nothing was heard for so many lease times.
_SILENT_LEASES = 3.0


def register(session: Session, registration: Registration, caller: Caller = LOCAL) -> Worker:
    """Know a worker; the same name gets its id back, so that a restart is no stranger."""
    lock(session, f"worker:{registration.name}")
    worker = session.scalars(select(Worker).where(Worker.name == registration.name)).first()
    if worker is None:
        worker = Worker(id=f"w{secrets.token_hex(6)}", name=registration.name, last_seen=0.0)
    worker.host = registration.host
    worker.devices = [device.model_dump(mode="json") for device in registration.devices]
    worker.slots = registration.slots
    worker.labels = registration.labels
    worker.version = registration.version
    take(session, caller, worker)
    # Who starts again wants work again, whatever was said to its former life.
    worker.state, worker.reason, worker.failures = WorkerState.ACTIVE, "", 0
    heard_from(session, worker)
    session.add(worker)
    session.flush()
    return worker


def drain(session: Session, worker_id: str) -> WorkerView:
    """Give a worker nothing new; it finishes or gives back what it holds."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        raise WorkerNotFound(f"no worker has the id {worker_id}; see GET /workers")
    worker.state = WorkerState.DRAINING
    session.flush()
    return next(view for view in workers(session) if view.id == worker_id)


def workers(session: Session) -> list[WorkerView]:
    """All workers ever registered, the one heard last first."""
    held: dict[str, list[tuple[str, float]]] = {}
    rows = session.execute(
        select(Trial.worker_id, Study.name, Trial.number, Trial.steps_per_second)
        .join(Study, Study.id == Trial.study_id)
        .where(Trial.state == TrialState.LEASED)
        .order_by(Study.name, Trial.number)
    )
    for worker_id, study, number, speed in rows:
        held.setdefault(str(worker_id), []).append((f"{study}#{number}", speed))
    return [
        WorkerView(
            id=worker.id,
            name=worker.name,
            host=worker.host,
            state=worker.state,
            reason=worker.reason,
            failures=worker.failures,
            devices=[Device.model_validate(device) for device in worker.devices],
            slots=worker.slots,
            labels=worker.labels,
            last_seen=worker.last_seen,
            steps_per_second=sum(speed for _, speed in held.get(worker.id, [])),
            holds=[name for name, _ in held.get(worker.id, [])],
        )
        for worker in session.scalars(select(Worker).order_by(Worker.last_seen.desc(), Worker.id))
    ]


def bury(session: Session, *, lease_seconds: float) -> list[str]:
    """Mark workers nothing was heard of for long as gone; their names."""
    before = now(session) - _SILENT_LEASES * lease_seconds
    silent = session.scalars(
        select(Worker)
        .where(
            # Others stay what they are, or a word from them would make them active again.
            Worker.state == WorkerState.ACTIVE,
            Worker.last_seen < before,
        )
        .order_by(Worker.id)
        .with_for_update(skip_locked=True)
    ).all()
    for worker in silent:
        worker.state = WorkerState.GONE
    return [worker.name for worker in silent]
