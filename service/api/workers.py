"""Routes of workers and leases."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service import dispatch, fleet, trials
from service.api.context import ServiceDep, needs
from service.api.problems import documented
from service.contract.errors import InvalidRequest, LeaseLost, WorkerNotFound
from service.contract.trial import (
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
from service.tokens import Scope

router = APIRouter(tags=["workers"])
WORKER = [needs(Scope.WORKER)]
#: Seconds until a worker without work asks again.
POLL_SECONDS = 1.0


@router.post("/workers", dependencies=WORKER, summary="Register a worker")
def register(service: ServiceDep, registration: Registration) -> Registered:
    """The same name gets the same id again."""
    with service.database.writing() as session:
        worker = fleet.register(session, registration)
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
def drain(service: ServiceDep, worker_id: str) -> WorkerView:
    """It finishes what it holds; registering again ends the draining."""
    with service.database.writing() as session:
        return fleet.drain(session, worker_id)


@router.post(
    "/leases",
    response_model=list[Lease],
    dependencies=WORKER,
    summary="Ask for trials",
    responses={
        **documented(WorkerNotFound),
        204: {"description": "Nothing to do; ask again after `Retry-After` seconds."},
    },
)
def lease(service: ServiceDep, request: LeaseRequest) -> Response:
    """Up to `capacity` trials, all of one study."""
    with service.database.writing() as session:
        leases = dispatch.lease(session, request, lease_seconds=service.settings.lease_seconds)
    if not leases:
        return Response(status_code=204, headers={"Retry-After": f"{POLL_SECONDS:.0f}"})
    service.wake()
    body = b"[" + b",".join(each.model_dump_json().encode() for each in leases) + b"]"
    return Response(body, media_type="application/json")


@router.post(
    "/leases/{lease_id}/heartbeat",
    dependencies=WORKER,
    summary="Keep a lease",
    responses=documented(LeaseLost),
)
def heartbeat(service: ServiceDep, lease_id: str, beat: Heartbeat) -> Verdict:
    """Answers `stop` when the trial was cancelled."""
    with service.database.writing() as session:
        return trials.heartbeat(
            session, lease_id, beat, lease_seconds=service.settings.lease_seconds
        )


@router.post(
    "/leases/{lease_id}/reports",
    dependencies=WORKER,
    summary="Scores at a rung",
    responses=documented(LeaseLost, InvalidRequest),
)
def report(service: ServiceDep, lease_id: str, report: Report) -> Verdict:
    """Stores scores and resume point together. `prune` has ended the trial."""
    with service.database.writing() as session:
        verdict = trials.report(
            session,
            lease_id,
            report,
            vocabulary=service.vocabulary,
            blobs=service.blobs,
            lease_seconds=service.settings.lease_seconds,
        )
    service.wake()
    return verdict


@router.post(
    "/leases/{lease_id}/result",
    status_code=204,
    dependencies=WORKER,
    summary="The end of a trial",
    responses=documented(LeaseLost, InvalidRequest),
)
def complete(service: ServiceDep, lease_id: str, result: Result) -> Response:
    """Exactly one result is recorded per trial; a repeat is answered like the first."""
    with service.database.writing() as session:
        trials.complete(
            session, lease_id, result, vocabulary=service.vocabulary, blobs=service.blobs
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
def fail(service: ServiceDep, lease_id: str, failure: Failure) -> Response:
    """Another attempt follows unless the cause or the number of attempts forbids it."""
    with service.database.writing() as session:
        trials.fail(
            session,
            lease_id,
            failure,
            vocabulary=service.vocabulary,
            max_attempts=service.settings.max_attempts,
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
def release(service: ServiceDep, lease_id: str, release: Release) -> Response:
    """Another worker goes on from the checkpoint; the attempt is not counted."""
    with service.database.writing() as session:
        trials.release(session, lease_id, release, blobs=service.blobs)
    return Response(status_code=204)
