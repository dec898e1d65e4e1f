"""What every request leaves behind: an id, a line in the log, its share in the figures."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import trail
from service.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: The header that names a request, in both directions.
REQUEST_ID = "x-request-id"
_ROUTE = "srtune.route"
_NO_ROUTE = "other"
#: A client's own id is taken over if it can do no harm in a log.
_SANE = re.compile(rb"[A-Za-z0-9._-]{8,64}")
#: What a path names → what a line of the log calls it.
_NAMED = {
    "ref": "study",
    "number": "number",
    "uid": "trial",
    "lease_id": "lease",
    "worker_id": "worker",
}
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Asked many times a second by workers that are well.
_HOT = ("/leases", "/mlflow", "/blobs")
#: A flood of these must not flood the log as well.
_FLOODS = frozenset({429})


async def note_route(request: Request) -> None:
    """A dependency of every route: tells `Observed` the route's pattern, and the ids in its path.

    The pattern and not the path, for one series per route instead of one per study. Routers hand
    their routes a copy of the scope, so the middleware cannot read it there.
    """
    note(request.scope, request.scope["route"].path, request.path_params)


def note(scope: Scope, route: str, parameters: Mapping[str, object]) -> None:
    """Tell `Observed` the route that answers, and what its path names."""
    scope[_ROUTE][0] = route
    named = {_NAMED[name]: value for name, value in parameters.items() if name in _NAMED}
    trail.note(work=route, **named)


class Observed:
    """Middleware: names the request, and tells log and figures how it was answered.

    A write or an error is a line at INFO; reads, and what workers ask all the time, at DEBUG.
    """

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, route = time.perf_counter(), [_NO_ROUTE]
        name = _given(scope) or secrets.token_hex(8)
        scope[_ROUTE] = route
        scope.setdefault("state", {})["request_id"] = name
        answered = False

        async def observed(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(scope=message).append(REQUEST_ID, name)
                self._note(scope["method"], route[0], message["status"], begun)
            await send(message)

        with trail.on(request=name):
            try:
                await self._app(scope, receive, observed)
            except Exception:
                if not answered:
                    self._note(scope["method"], route[0], 500, begun)
                logger.exception("a bug while answering", extra={"route": route[0]})
                raise

    def _note(self, method: str, route: str, status: int, begun: float) -> None:
        seconds = time.perf_counter() - begun
        error = trail.fields_now().get("error")
        self._telemetry.answered(
            method, route, status, seconds, None if error is None else str(error)
        )
        level = _level(method, route, status)
        if logger.isEnabledFor(level):
            fields = {"method": method, "route": route, "status": status}
            logger.log(level, "answered", extra={**fields, "ms": round(1000 * seconds, 1)})


def _level(method: str, route: str, status: int) -> int:
    if status >= 500:
        return logging.WARNING
    if status in _FLOODS:
        return logging.DEBUG
    if status >= 400:
        return logging.INFO
    return logging.DEBUG if method in _READS or route.startswith(_HOT) else logging.INFO


def _given(scope: Scope) -> str | None:
    """The client's own id for this request."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE.fullmatch(value):
            return bytes(value).decode("ascii")
    return None
