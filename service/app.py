"""The service as one ASGI application."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, closing, nullcontext
from functools import partial
from typing import Protocol

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from service import edge
from service.api import (
    audit,
    blobs,
    catalogue,
    events,
    health,
    owners,
    problems,
    results,
    studies,
    tokens,
    workers,
)
from service.api.context import Service, needs_for_pages
from service.api.observed import Observed, note_route
from service.api.straight import Straight
from service.blobs import Blobs
from service.callers import Callers
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.figures import Rows
from service.ledger import Ledger
from service.proposer import Memories, propose
from service.pulse import Pulse
from service.reaper import clear_litter, sweep
from service.sampler import SamplerProcess
from service.schema import upgrade
from service.settings import Settings
from service.telemetry import Telemetry
from service.tokens import check_binding

_PROPOSE_SECONDS = 0.5
#: It is woken by every lease, and looks at its studies no more often than this.
_PROPOSE_REST = 0.05
_LITTER_SECONDS = 600.0
_USES_SECONDS = 60.0
_ROUTERS = (studies, results, events, workers, blobs, catalogue, tokens, owners, audit)


class LabBook(Protocol):
    """What the app needs of MLflow's side."""

    @property
    def router(self) -> APIRouter | None:
        """Routes under /mlflow; None when there is no lab book."""

    def status(self) -> str:
        """ready, starting, away or off."""

    def writes(self, method: str, path: str) -> bool:
        """Whether a request to its routes may change it."""


class NoLabBook:
    """A service without MLflow."""

    router: APIRouter | None = None

    def status(self) -> str:
        return "off"

    def writes(self, method: str, path: str) -> bool:
        return True


OpenLabBook = Callable[[Settings, Database, Vocabulary], AbstractContextManager[LabBook]]


def without_lab_book(
    _settings: Settings, _database: Database, _vocabulary: Vocabulary
) -> AbstractContextManager[LabBook]:
    """Opens nothing."""
    return nullcontext(NoLabBook())


def create_app(
    settings: Settings,
    vocabulary: Vocabulary,
    *,
    open_lab_book: OpenLabBook = without_lab_book,
    sampler: SamplerProcess | None = None,
    migrate: bool = True,
    background: bool = True,
) -> FastAPI:
    """The application; it opens its database when it starts and closes it when it ends.

    `open_lab_book` is entered with settings, database and vocabulary once the database is there.
    `sampler` may have begun already; the application closes it.
    `background=False` runs neither proposer nor reaper, for whoever calls them himself.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            await run_in_threadpool(
                _start,
                app,
                stack,
                settings,
                vocabulary,
                open_lab_book,
                SamplerProcess() if sampler is None else sampler,
                migrate=migrate,
                background=background,
            )
            yield
            # Threads that end may wait for their last act; the loop goes on meanwhile.
            await run_in_threadpool(stack.close)

    app = FastAPI(
        title="srtune",
        summary="Tunes the loss weights of super-resolution models, and keeps the lab book.",
        lifespan=lifespan,
    )
    #: Set when the service is told to end, before it stops to answer.
    app.state.ending = threading.Event()
    app.state.telemetry = Telemetry(CollectorRegistry())
    problems.install(app)
    edge.install(app, settings)
    app.add_middleware(Observed, telemetry=app.state.telemetry)
    noted = [Depends(note_route)]
    for module in _ROUTERS:
        app.include_router(
            module.router, prefix="/api/v1", dependencies=noted, responses=problems.EVERYWHERE
        )
    app.include_router(health.router, dependencies=noted)
    app.router.routes.insert(0, Straight("/api/v1", workers.router.routes))

    @app.get("/", include_in_schema=False)
    def front_door() -> RedirectResponse:
        return RedirectResponse("/mlflow/" if settings.mlflow else "/docs")

    return app


def _start(
    app: FastAPI,
    stack: ExitStack,
    settings: Settings,
    vocabulary: Vocabulary,
    open_lab_book: OpenLabBook,
    sampler: SamplerProcess,
    *,
    migrate: bool,
    background: bool,
) -> None:
    settings.data.mkdir(parents=True, exist_ok=True)
    telemetry: Telemetry = app.state.telemetry
    database = Database(settings.database_url)
    stack.callback(database.close)
    telemetry.watch(database.engine)
    if migrate:
        upgrade(database)
    check_binding(settings, database)
    telemetry.registry.register(Rows(database))
    store = Blobs(settings.data / "blobs", limit=settings.max_blob)
    stack.enter_context(closing(sampler))
    proposer = Pulse(
        "proposer",
        partial(propose, database, vocabulary, Memories(vocabulary, sampler)),
        every=_PROPOSE_SECONDS,
        rest=_PROPOSE_REST,
    )
    litter = Pulse("litter", partial(clear_litter, database, store), every=_LITTER_SECONDS)
    callers = Callers(settings, database)
    uses = Pulse("uses of tokens", callers.write_uses, every=_USES_SECONDS)
    pulses = (
        [proposer, _reaper(database, vocabulary, settings, telemetry), litter, uses]
        if background
        else []
    )
    for pulse in pulses:
        stack.enter_context(pulse.beating())
    lab_book = stack.enter_context(open_lab_book(settings, database, vocabulary))
    if lab_book.router is not None:
        app.include_router(
            lab_book.router, dependencies=[Depends(note_route), Depends(needs_for_pages)]
        )
    for pulse in pulses:  # all are told before the first is waited for
        stack.callback(pulse.end)
    app.state.service = Service(
        settings=settings,
        vocabulary=vocabulary,
        database=database,
        ledger=stack.enter_context(Ledger(database, observe=telemetry.committed).open()),
        blobs=store,
        callers=callers,
        wake=proposer.wake,
        lab_book=lab_book.status,
        writes_pages=lab_book.writes,
    )


def _reaper(
    database: Database, vocabulary: Vocabulary, settings: Settings, telemetry: Telemetry
) -> Pulse:
    """Judges leases, but not before the workers had time to be heard again after a restart."""
    return Pulse(
        "reaper",
        lambda: telemetry.lapsed(len(sweep(database, vocabulary, settings))),
        every=settings.reap_seconds,
        delay=settings.lease_seconds,
    )
