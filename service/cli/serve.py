"""`srtune serve`: the service alone."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.log import LogJson, configure, debugging
from service.cli.options import Data
from service.cli.parent import Parent, die_with

if TYPE_CHECKING:
    from socket import socket

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.app import OpenLabBook
    from service.settings import Settings

Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on.  [default: 127.0.0.1]")
]
Port = Annotated[
    int | None, typer.Option("--port", help="Port to listen on; 0: a free one.  [default: 8470]")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="PostgreSQL URL.  [default: SQLite in the data folder]"),
]
Lab = Annotated[
    bool | None, typer.Option("--mlflow/--no-mlflow", help="Keep the lab book.  [default: mlflow]")
]


def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    database: DatabaseUrl = None,
    mlflow: Lab = None,
    parent: Parent = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the addresses as one JSON object to stdout.")
    ] = False,
    log_json: LogJson = False,
) -> None:
    """Run the service: REST API, tuner, and MLflow at /mlflow.

    Settings not given here come from the environment (SRTUNE_DATA, SRTUNE_TOKEN, ...).
    """
    die_with(parent)
    from contextlib import nullcontext

    from service.cli.listening import listen, only_one

    configure(debug=debugging(), as_json=log_json)
    settings = settings_from(data=data, host=host, port=port, database=database, mlflow=mlflow)
    with only_one(settings.data) if settings.database is None else nullcontext():
        bound = listen(settings.host, settings.port)
        settings = settings.model_copy(update={"port": bound.getsockname()[1]})
        if as_json:
            _tell(settings)
        run(settings, bound)


def settings_from(**given: Any) -> Settings:
    """The settings of the environment, with what the command line gave over them."""
    from pydantic import ValidationError

    from service.cli.errors import WrongUsage
    from service.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        name = str(found["loc"][0])
        shown = "not usable" if name in ("database", "token") else repr(found["input"])
        raise WrongUsage(
            f"--{name.replace('_', '-')} or SRTUNE_{name.upper()} is {shown}: "
            f"{found['msg'].removeprefix('Value error, ').lower()}"
        ) from error


def run(settings: Settings, bound: socket) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; returns when everything is closed."""
    # What is imported stays: looking for garbage in it would be a tenth of the start. The server
    # turns it on again once it has started.
    gc.disable()
    from service.cli.vocabulary_file import VocabularyFile

    words = VocabularyFile(settings.data)
    words.begin()  # takes seconds where it is new; meanwhile we import the rest
    from service.sampler import SamplerProcess

    sampler = SamplerProcess()
    sampler.begin()  # imports its half while we import ours

    from service.app import create_app
    from service.cli.errors import StackFailed
    from service.cli.server import Server
    from service.edge.patience import room_for_connections

    inner = create_app(settings, words.read(), open_lab_book=_lab_book(settings), sampler=sampler)
    app = _Remembering(inner)
    server = Server(
        app,
        ending=inner.state.ending,
        announce=settings.drain_seconds,
        head_seconds=settings.head_seconds,
    )
    room_for_connections()
    # Until the server listens for signals itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        return
    except SystemExit as end:
        if server.started or not end.code:
            raise
    if not server.started:
        raise app.error or StackFailed("the service could not start; the lines above say why")


def _lab_book(settings: Settings) -> OpenLabBook:
    if settings.mlflow:
        from service.tracking import open_lab_book

        return open_lab_book
    from service.app import without_lab_book

    return without_lab_book


class _Remembering:
    """Keeps the error an application could not start with, which uvicorn only writes down."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.error: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(event: Message) -> None:
            if event["type"] == "lifespan.startup.failed":
                self.error = sys.exc_info()[1]
                event = {**event, "message": f"no start: {self.error}"}
            await send(event)

        await self._app(scope, receive, sent if scope["type"] == "lifespan" else send)


def _tell(settings: Settings) -> None:
    from service.cli.output import answer

    answer(addresses(settings), "", as_json=True)


def addresses(settings: Settings) -> dict[str, str]:
    """Where people and programs find what."""
    return {
        "service": settings.url,
        "docs": f"{settings.url}/docs",
        "mlflow": f"{settings.url}/mlflow/" if settings.mlflow else "",
        "data": str(Path(settings.data)),
    }
