"""Whether the service lives and works, for those who watch it."""

from __future__ import annotations

import time

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel
from sqlalchemy import func, select, text
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.context import ServiceDep
from service.api.problems import documented
from service.contract.errors import Unavailable
from service.contract.trial import TrialState
from service.db import Database
from service.models import Attempt, Trial

router = APIRouter(tags=["health"])
_ROUTE = "srtune.route"
_NO_ROUTE = "other"


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
def readyz(service: ServiceDep) -> Health:
    """The database answers; MLflow's state is information and never makes this fail."""
    with service.database.reading() as session:
        session.execute(text("SELECT 1"))
    return Health(status="ready", mlflow=service.lab_book())


class Ledger(Collector):
    """Trials and leases as the rows say, so that replicas and restarts agree."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[GaugeMetricFamily]:
        # Registering must not ask the database, which may not be open yet.
        return []

    def collect(self) -> list[GaugeMetricFamily]:
        with self._database.reading() as session:
            by_state = select(Trial.state, func.count()).group_by(Trial.state)
            states = dict.fromkeys(TrialState, 0) | dict(session.execute(by_state).all())
            by_outcome = select(Attempt.outcome, func.count()).group_by(Attempt.outcome)
            outcomes = dict(session.execute(by_outcome).all())
            proposals = session.execute(
                select(func.count()).where(Trial.origin == "sampler")
            ).scalar_one()
        trials = GaugeMetricFamily("srtune_trials", "Trials by state.", labels=["state"])
        for state, count in states.items():
            trials.add_metric([state.value], count)
        return [
            trials,
            GaugeMetricFamily("srtune_leases", "Leases ever granted.", sum(outcomes.values())),
            GaugeMetricFamily("srtune_lapses", "Leases that lapsed.", outcomes.get("lapsed", 0)),
            GaugeMetricFamily("srtune_proposals", "Trials the samplers proposed.", proposals),
        ]


async def note_route(request: Request) -> None:
    """A dependency of every route: tells `RequestSeconds` the route's pattern.

    The pattern and not the path, for one series per route instead of one per study. Routers hand
    their routes a copy of the scope, so the middleware cannot read it there.
    """
    request.scope[_ROUTE][0] = request.scope["route"].path


class RequestSeconds:
    """Middleware: how long answers took, by route; and the page with all figures."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "srtune_request_seconds",
            "Seconds from request to the start of the answer.",
            ["method", "route", "status"],
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, route = time.perf_counter(), [_NO_ROUTE]
        scope[_ROUTE] = route

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                labels = (scope["method"], route[0], str(message["status"]))
                self._seconds.labels(*labels).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, observed)


def figures(registry: CollectorRegistry) -> Response:
    """The registry as Prometheus reads it."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
