"""Whether the service lives and works, for those who watch it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text
from starlette.responses import Response

from service.api.context import ServiceDep, needs
from service.api.problems import documented
from service.contract.access import Scope
from service.contract.errors import Forbidden, Unauthorized, Unavailable

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """What works."""

    status: str
    database: str = "ready"
    #: Information only: without MLflow everything but its pages goes on.
    mlflow: str = "off"


@router.get("/healthz", summary="Liveness")
async def healthz() -> Health:
    """The process answers."""
    return Health(status="alive", database="unasked", mlflow="unasked")


@router.get("/readyz", summary="Readiness", responses=documented(Unavailable))
def readyz(request: Request, service: ServiceDep) -> Health:
    """The database answers; MLflow's state is information and never makes this fail."""
    if request.app.state.ending.is_set():
        raise Unavailable("the service is shutting down; ask again when it is back")
    with service.database.reading() as session:
        session.execute(text("SELECT 1"))
    return Health(status="ready", mlflow=service.lab_book())


@router.get(
    "/metrics",
    dependencies=[needs(Scope.READ)],
    response_class=Response,
    summary="Figures for Prometheus",
    responses={200: {"content": {"text/plain": {}}}, **documented(Unauthorized, Forbidden)},
)
def metrics(request: Request) -> Response:
    """What this process counts, and what the rows say; docs/operating.md explains each figure."""
    registry = request.app.state.telemetry.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
