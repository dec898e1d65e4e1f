"""What a body must be before a route sees it: of the right type, not too large, and here in time."""

from __future__ import annotations

import asyncio
import json
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem_response
from service.contract.errors import (
    InvalidRequest,
    RequestTimeout,
    SrtuneError,
    TooLarge,
    UnsupportedMedia,
)

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
#: These routes take bytes of any type and length; they have limits of their own.
_STREAMS = ("/api/v1/blobs/", "/mlflow")
#: Bytes per second below which a stream uses up its patience.
_SLOWEST = 16_384
#: NUL as JSON writes it: behind an odd number of backslashes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUL_FOUND = "the {} holds the character NUL, which no text needs; remove it"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class _Gone(Exception):
    """The client went away before its request was complete."""


class Bodies:
    """Middleware: hands JSON routes a body that is whole, and streams one that keeps coming.

    `limit` in bytes of a JSON body; `seconds` that a body may keep us waiting. A JSON body is
    collected before its route starts, so that a slow client holds a connection and nothing else.
    """

    def __init__(self, app: ASGIApp, *, limit: int, seconds: float) -> None:
        self._app, self._limit, self._seconds = app, limit, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            await problem_response(InvalidRequest(_NUL_FOUND.format("address")))(
                scope, receive, send
            )
        elif scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
        elif scope["path"].startswith(_STREAMS):
            await self._app(scope, self._flowing(receive), send)
        else:
            await self._whole(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        try:
            self._check(headers)
            body = await self._collected(receive)
            _check_text(body)
        except _Gone:
            return
        except SrtuneError as error:
            # Not closed: the server throws the rest away, and a client that still sends can read on.
            await problem_response(error)(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    def _check(self, headers: dict[bytes, bytes]) -> None:
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            given = kind.decode("latin-1")[:60] or "nothing"
            raise UnsupportedMedia(
                f"the body's content-type says {given!r}; send JSON as application/json"
            )
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMedia("the body is packed (content-encoding); send it as it is")
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_large(f"{int(announced)} bytes are")

    async def _collected(self, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > self._limit:
                        raise self._too_large("the body is")
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise self._late() from error
        return b"".join(pieces)

    def _flowing(self, receive: Receive) -> Receive:
        patience, ended = self._seconds, False

        async def flowing() -> Message:
            nonlocal patience, ended
            if ended:  # the route listens for the client's going away, for as long as it likes
                return await receive()
            begun = time.monotonic()
            try:
                async with asyncio.timeout(patience):
                    message = await receive()
            except TimeoutError as error:
                raise self._late() from error
            gained = len(message.get("body", b"")) / _SLOWEST - (time.monotonic() - begun)
            patience = min(patience + gained, self._seconds)
            ended = not message.get("more_body", False)
            return message

        return flowing

    def _too_large(self, what: str) -> TooLarge:
        return TooLarge(
            f"{what} more than the {self._limit} that one body may have (SRTUNE_MAX_BODY)"
        )

    def _late(self) -> RequestTimeout:
        return RequestTimeout(
            f"the body did not arrive within {self._seconds:g} seconds; send it again"
        )


def _check_text(body: bytes) -> None:
    """Pass what every database and every parser carries unchanged."""
    try:
        body.decode()
        if _HALF.search(body):
            # Only a parser knows which halves have found their other one.
            json.dumps(_parsed(body), ensure_ascii=False).encode()
    except UnicodeError as error:
        raise InvalidRequest(
            "the body holds text that is no Unicode (half a surrogate pair?); send JSON in UTF-8"
        ) from error
    if b"\0" in body or _NUL.search(body):
        raise InvalidRequest(_NUL_FOUND.format("body"))


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None  # the route says what is wrong with it


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, then whatever comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
