"""A client of the service that costs next to nothing, so that a load test measures the service.

HTTP/1.1 with keep-alive over one asyncio connection, one request at a time, answers with a
Content-Length. A request of a general client library costs half a millisecond of the same cores.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

_END = b"\r\n\r\n"
_BODILESS = (204, 304)


class Refused(Exception):
    """An answer with another status than the one that had to come."""


class Wire(asyncio.Protocol):
    """One kept connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, dict[str, str], bytes]] | None = None
        self._head = b""

    @classmethod
    async def to(cls, url: str, token: str) -> Wire:
        """An open connection to the service at this address."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, parts.hostname, parts.port)
        wire._head = (
            f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Accept: application/json\r\n"
        ).encode()
        return wire

    async def post(self, path: str, body: dict[str, Any], *expected: int) -> Any:
        """The answer's JSON, None for an empty one; Refused for a status not expected."""
        return (await self.ask("POST", path, json.dumps(body).encode(), *expected))[2]

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *expected: int,
        content_type: str = "application/json",
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of an answer."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the service closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        kind = f"Content-Type: {content_type}\r\n" if body else ""
        self._transport.write(
            f"{method} /api/v1{path}".encode()
            + self._head
            + f"{kind}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        status, headers, content = await self._answer
        if status not in expected:
            raise Refused(f"{method} {path}: {status} {content[:300].decode(errors='replace')}")
        return status, headers, json.loads(content) if content else None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END)
        if end < 0 or self._answer is None:
            return
        first, *lines = bytes(self._received[:end]).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        status = int(first.split(" ", 2)[1])
        if "transfer-encoding" in headers:
            self._answer.set_exception(Refused("the answer came in chunks; none of ours does"))
            return
        size = 0 if status in _BODILESS else int(headers.get("content-length", "0"))
        begin = end + len(_END)
        if len(self._received) < begin + size:
            return
        content = bytes(self._received[begin : begin + size])
        del self._received[: begin + size]
        self._answer.set_result((status, headers, content))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the service hung up"))
