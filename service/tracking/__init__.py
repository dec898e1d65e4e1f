"""MLflow, the lab book: our own server as a child, our rows projected into it, one port for all.

Nothing here is in the way of anything else: without MLflow the service works, and the pages fill
when it is back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from fastapi import APIRouter

from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.settings import Settings
from service.tracking.admission import Admission
from service.tracking.labbook import LabBook
from service.tracking.owners import RunOwners
from service.tracking.projection import Projection
from service.tracking.proxy import remote_transport, router, unix_transport
from service.tracking.routes import writes
from service.tracking.schema import schema_url
from service.tracking.server import MlflowServer

__all__ = ["LabBookService", "open_lab_book"]

Status = Literal["ready", "starting", "away", "off"]


class LabBookService:
    """The running lab book: `router` serves `/mlflow` (None when off), `status()` says how it is."""

    def __init__(
        self,
        router: APIRouter | None = None,
        server: MlflowServer | None = None,
        projection: Projection | None = None,
    ) -> None:
        self.router = router
        self.server = server
        self._projection = projection

    def writes(self, method: str, path: str) -> bool:
        """Whether a request to `/mlflow/{path}` may change the lab book."""
        return writes(method, path)

    def status(self) -> Status:
        if self._projection is None:
            return "off"
        if self.server is not None:
            return self.server.status
        reached = self._projection.reached
        return "starting" if reached is None else "ready" if reached else "away"


@contextmanager
def open_lab_book(
    settings: Settings,
    database: Database,
    vocabulary: Vocabulary,
) -> Iterator[LabBookService]:
    """Start whatever `settings` ask for and stop it at the end; returns without waiting for it."""
    if not settings.mlflow:
        yield LabBookService()
        return
    own_hosts = [urlsplit(settings.url).netloc]
    if settings.mlflow_uri is not None:
        server = None
        labbook = LabBook(base_url=settings.mlflow_uri)
        transport, base_url = remote_transport(), settings.mlflow_uri
    else:
        server = _server(settings)
        labbook = LabBook.at_socket(str(server.socket))
        transport, base_url = unix_transport(str(server.socket)), "http://localhost"
        server.start()
    projection = Projection(
        database,
        labbook,
        vocabulary,
        settings.url,
        own=server is not None,
        ready=lambda: server is None or server.status == "ready",
        ended=server.analyze_soon if server is not None else lambda: None,
    )
    projection.start()
    admission = Admission(RunOwners(database).of, largest_file=settings.max_blob)
    routes = router(transport, base_url=base_url, own_hosts=own_hosts, admission=admission)
    try:
        yield LabBookService(routes, server, projection)
    finally:
        projection.stop()
        if server is not None:
            server.stop()


def _server(settings: Settings) -> MlflowServer:
    """MLflow in the data folder; its tables go where ours are, to a schema of their own."""
    folder = settings.data / "mlflow"
    if settings.database is None or settings.database_url.startswith("sqlite"):
        return MlflowServer(folder)
    return MlflowServer(folder, schema_url(settings.database_url))
