"""The service as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Protocol

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from service.api import blobs, catalogue, events, health, problems, results, studies, workers
from service.api.context import Service, needs_for_pages
from service.blobs import Blobs
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.proposer import Memories, propose
from service.pulse import Pulse
from service.reaper import clear_litter, sweep
from service.schema import upgrade
from service.settings import Settings
from service.tokens import check_binding

_PROPOSE_SECONDS = 0.5
_LITTER_SECONDS = 600.0
_ROUTERS = (studies, results, events, workers, blobs, catalogue)


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
    migrate: bool = True,
    background: bool = True,
) -> FastAPI:
    """The application; it opens its database when it starts and closes it when it ends.

    `open_lab_book` is entered with settings, database and vocabulary once the database is there.
    `background=False` runs neither proposer nor reaper, for whoever calls them himself.
    """
    registry = CollectorRegistry()

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
                registry,
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
    problems.install(app)
    app.add_middleware(health.RequestSeconds, registry=registry)
    noted = [Depends(health.note_route)]
    for module in _ROUTERS:
        app.include_router(module.router, prefix="/api/v1", dependencies=noted)
    app.include_router(health.router)

    @app.get("/metrics", tags=["health"], summary="Figures for Prometheus")
    def metrics() -> Response:
        """Trials by state, leases, lapses, proposals, seconds per request."""
        return health.figures(registry)

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
    registry: CollectorRegistry,
    *,
    migrate: bool,
    background: bool,
) -> None:
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    stack.callback(database.close)
    if migrate:
        upgrade(database)
    check_binding(settings, database)
    registry.register(health.Ledger(database))
    store = Blobs(settings.data / "blobs", limit=settings.max_blob)
    proposer = Pulse(
        "proposer",
        partial(propose, database, vocabulary, Memories(vocabulary)),
        every=_PROPOSE_SECONDS,
    )
    if background:
        stack.enter_context(proposer.beating())
        stack.enter_context(_reaper(database, vocabulary, settings).beating())
        litter = Pulse("litter", partial(clear_litter, database, store), every=_LITTER_SECONDS)
        stack.enter_context(litter.beating())
    lab_book = stack.enter_context(open_lab_book(settings, database, vocabulary))
    if lab_book.router is not None:
        app.include_router(lab_book.router, dependencies=[Depends(needs_for_pages)])
    app.state.service = Service(
        settings=settings,
        vocabulary=vocabulary,
        database=database,
        blobs=store,
        wake=proposer.wake,
        lab_book=lab_book.status,
        writes_pages=lab_book.writes,
    )


def _reaper(database: Database, vocabulary: Vocabulary, settings: Settings) -> Pulse:
    """Judges leases, but not before the workers had time to be heard again after a restart."""
    return Pulse(
        "reaper",
        partial(sweep, database, vocabulary, settings),
        every=settings.reap_seconds,
        delay=settings.lease_seconds,
    )
