"""Routes of workers and leases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from service import attempts, fleet, holding, trail, trials
from service.api.context import CallerDep, LogDep, Service, ServiceDep, needs
from service.api.problems import documented
from service.contract.access import Caller, Scope
from service.contract.errors import IllegalMove, InvalidRequest, LeaseLost, WorkerNotFound
from service.contract.trial import (
    Action,
    Failure,
    Heartbeat,
    Lease,
    LeaseRequest,
    Release,
    Report,
    Result,
    Verdict,
)
from service.contract.worker import Registered, Registration, WorkerView
from service.ownership import check_speaks

Answer = TypeVar("Answer")
router = APIRouter(tags=["workers"])
WORKER = [needs(Scope.WORKER)]
#: Seconds until a worker without work asks again, until the service has told it better.
POLL_SECONDS = 1.0
POLL_AFTER = "Srtune-Poll-After"
LeaseId = Annotated[str, Path(max_length=64, description="`id` of the lease.")]
WorkerId = Annotated[str, Path(max_length=64, description="`id` of the worker.")]


@router.post("/workers", dependencies=WORKER, summary="Register a worker")
def register(service: ServiceDep, caller: CallerDep, registration: Registration) -> Registered:
    """The same name gets the same id again; another token cannot take it over."""
    with service.database.writing() as session:
        worker = fleet.register(session, registration, caller)
    return Registered(
        id=worker.id,
        poll_every=POLL_SECONDS,
        tracking_uri="/mlflow" if service.settings.mlflow else None,
    )


@router.get("/workers", dependencies=[needs(Scope.READ)], summary="The fleet")
def list_workers(service: ServiceDep) -> list[WorkerView]:
    """Every worker ever registered, what it holds and how fast it is."""
    with service.database.reading() as session:
        return fleet.workers(session)


@router.post(
    "/workers/{worker_id}/drain",
    dependencies=[needs(Scope.ADMIN)],
    summary="Give a worker nothing new",
    responses=documented(WorkerNotFound),
)
def drain(service: ServiceDep, log: LogDep, worker_id: WorkerId) -> WorkerView:
    """It finishes what it holds; registering again ends the draining."""
    with service.database.writing() as session:
        view = fleet.drain(session, worker_id)
        log.note(session, "worker.drain", view.id, view.name)
    return view


@router.post(
    "/leases",
    response_model=list[Lease],
    dependencies=WORKER,
    summary="Ask for trials",
    responses={
        **documented(WorkerNotFound),
        204: {
            "description": "Nothing to do; ask again after `Srtune-Poll-After` seconds "
            "(`Retry-After`: the same in whole seconds)."
        },
    },
)
async def lease(service: ServiceDep, caller: CallerDep, request: LeaseRequest) -> Response:
    """Up to `capacity` trials, all of one study.

    With `request`, a word of the worker's own, a repeat gets the same leases again.
    """
    trail.note(worker=request.worker)
    offer = await service.ledger.lease(
        request, caller, lease_seconds=service.settings.lease_seconds
    )
    if not offer.leases:
        headers = {
            "Retry-After": str(math.ceil(offer.poll_after)),
            POLL_AFTER: f"{offer.poll_after:.3f}",
        }
        return Response(status_code=204, headers=headers)
    job = offer.leases[0].job
    trail.note(study=job.study_id, trials=[each.job.number for each in offer.leases])
    service.wake()
    body = b"[" + b",".join(each.model_dump_json().encode() for each in offer.leases) + b"]"
    return Response(body, media_type="application/json")


@router.post(
    "/leases/{lease_id}/heartbeat",
    response_model=Verdict,
    dependencies=WORKER,
    summary="Keep a lease",
    responses=documented(LeaseLost),
)
async def heartbeat(
    service: ServiceDep, caller: CallerDep, lease_id: LeaseId, beat: Heartbeat
) -> Response:
    """Answers `stop` when the trial was cancelled."""
    seconds = service.settings.lease_seconds
    verdict = await _about(
        service,
        caller,
        lease_id,
        lambda session: trials.heartbeat(session, lease_id, beat, lease_seconds=seconds),
    )
    return _json(verdict)


@router.post(
    "/leases/{lease_id}/reports",
    response_model=Verdict,
    dependencies=WORKER,
    summary="Scores at a rung",
    responses=documented(LeaseLost, InvalidRequest),
)
async def report(
    service: ServiceDep, caller: CallerDep, lease_id: LeaseId, report: Report
) -> Response:
    """Stores scores and resume point together. `prune` has ended the trial."""
    verdict = await _about(
        service,
        caller,
        lease_id,
        lambda session: trials.report(
            session,
            lease_id,
            report,
            vocabulary=service.vocabulary,
            blobs=service.blobs,
            lease_seconds=service.settings.lease_seconds,
        ),
        rungs=True,
    )
    if verdict.action is Action.PRUNE:
        service.wake()
    return _json(verdict)


@router.post(
    "/leases/{lease_id}/result",
    status_code=204,
    dependencies=WORKER,
    summary="The end of a trial",
    responses=documented(LeaseLost, InvalidRequest, IllegalMove),
)
async def complete(
    service: ServiceDep, caller: CallerDep, lease_id: LeaseId, result: Result
) -> Response:
    """Exactly one result is recorded per trial; a repeat is answered like the first."""
    await _about(
        service,
        caller,
        lease_id,
        lambda session: trials.complete(
            session, lease_id, result, vocabulary=service.vocabulary, blobs=service.blobs
        ),
    )
    service.wake()
    return Response(status_code=204)


@router.post(
    "/leases/{lease_id}/failure",
    status_code=204,
    dependencies=WORKER,
    summary="The end of an attempt without a result",
    responses=documented(LeaseLost),
)
async def fail(
    service: ServiceDep, caller: CallerDep, lease_id: LeaseId, failure: Failure
) -> Response:
    """The cause decides: another attempt, the result "diverged", or the trial's end."""
    await _about(
        service,
        caller,
        lease_id,
        lambda session: attempts.fail(
            session,
            lease_id,
            failure,
            vocabulary=service.vocabulary,
            max_attempts=service.settings.max_attempts,
        ),
    )
    service.wake()
    return Response(status_code=204)


@router.post(
    "/leases/{lease_id}/release",
    status_code=204,
    dependencies=WORKER,
    summary="Give a trial back unfinished",
    responses=documented(LeaseLost, InvalidRequest),
)
async def release(
    service: ServiceDep, caller: CallerDep, lease_id: LeaseId, release: Release
) -> Response:
    """Another worker goes on from the checkpoint; the attempt is not counted."""
    await _about(
        service,
        caller,
        lease_id,
        lambda session: trials.release(session, lease_id, release, blobs=service.blobs),
    )
    return Response(status_code=204)


async def _about(
    service: Service,
    caller: Caller,
    lease_id: str,
    act: Callable[[Session], Answer],
    *,
    rungs: bool = False,
) -> Answer:
    """Do something about a lease, if the caller may speak for the worker that holds it."""

    def checked(session: Session) -> Answer:
        worker = holding.worker_of(session, lease_id)
        if worker is not None:
            check_speaks(caller, worker)
        return act(session)

    return await service.ledger.about(lease_id, checked, rungs=rungs)


def _json(verdict: Verdict) -> Response:
    """Straight from the model: what was just built needs no second validation."""
    return Response(verdict.model_dump_json().encode(), media_type="application/json")
