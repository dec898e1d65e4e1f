"""How long a connection may keep us waiting for the head of a request.

uvicorn waits for ever for the first one, and takes heads of any length. A connection that says
nothing costs little, but there may be thousands, and each holds a file descriptor.
"""

from __future__ import annotations

import asyncio
import resource
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: Bytes of a head; browsers and proxies stay below 16 kB.
_LARGEST_HEAD = 65_536
_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_MOST_FILES = 65_536


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's connection, with a deadline and a limit for heads; see `patient`."""

    head_seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        if cycle is not None and not cycle.response_complete:
            self._disarm()
            return
        # No request is being answered: this was a piece of a head, or the rest of a body that
        # was answered before it had arrived.
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._late)
        if cycle is None or not cycle.more_body:
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                self._end(_LONG)

    def _disarm(self) -> None:
        self._head = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        # Whoever never began gets no answer: browsers open connections in advance.
        self._end(_LATE if self._head else b"")

    def _end(self, last_words: bytes) -> None:
        self._disarm()
        if not self.transport.is_closing():
            self.transport.write(last_words)
            self.transport.close()


def patient(head_seconds: float) -> type[PatientProtocol]:
    """A protocol for uvicorn's `http=` that waits so long for a head."""
    return type("PatientProtocol", (PatientProtocol,), {"head_seconds": head_seconds})


def room_for_connections() -> None:
    """Let this process open as many files as it may: 1,024, as is usual, are soon held."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
