"""What clients did and heard, written down as it happens and read again after the run.

An operation is written twice: before its request leaves and after its answer came. One without an
answer (the connection broke, nothing came in time, its process was killed) is *unknown*: it may
have happened, once or more often, and never counts as failed. Times are of CLOCK_MONOTONIC, which
all processes of a machine share and libfaketime is told to leave alone.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

#: The writes of a lease, by the last segment of their path.
WRITES = frozenset({"heartbeat", "reports", "result", "failure", "release"})
#: Writes that end an attempt, and the outcome that they give it.
ENDS = {"result": "complete", "failure": "failed", "release": "released"}


@dataclass(frozen=True)
class Operation:
    """One request of one client, and what it heard."""

    id: str
    client: str
    kind: str  #: `lease`, `register`, `blob`, `study`, one of WRITES, or `other`
    lease: str  #: of a write; empty otherwise
    body: dict[str, Any]
    begun: float
    ended: float | None = None  #: none: nothing came back
    status: int | None = None  #: none: unknown
    answer: Any = None
    error: str = ""

    @property
    def known(self) -> bool:
        return self.status is not None

    @property
    def accepted(self) -> bool:
        """Whether the service said that it was done."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the service said for good that it was not done."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 429

    @property
    def key(self) -> str:
        """The same for the same request sent again."""
        return digest([self.kind, self.lease, self.body])


@dataclass
class History:
    """Appends to one file; a line is on its way to the disk before the request is."""

    path: Path
    client: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One write() per line on an O_APPEND handle: lines of several threads never mix.
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def invoke(self, kind: str, lease: str, body: dict[str, Any], *, by: str = "") -> str:
        name = f"{self.client}-{os.getpid()}-{next(self._numbers)}"
        client = by or self.client
        self._write(
            {
                "id": name,
                "client": client,
                "kind": kind,
                "lease": lease,
                "body": body,
                "begun": now(),
            }
        )
        return name

    def known(self, name: str, status: int, answer: Any) -> None:
        self._write({"id": name, "ended": now(), "status": status, "answer": answer})

    def unknown(self, name: str, error: str) -> None:
        self._write({"id": name, "ended": now(), "error": error})

    def close(self) -> None:
        os.close(self._handle)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._handle, json.dumps(line).encode() + b"\n")


class Recorded(httpx2.BaseTransport):
    """A transport that writes down every request of a client and what came of it."""

    def __init__(self, history: History, *, by: str = "") -> None:
        self._history, self._by = history, by
        #: Seconds until the service wants to be asked for trials again.
        self.poll_after = 1.0
        self._wire = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        key = request.headers.get("idempotency-key", "")
        kind, lease, body = described(request.method, request.url.path, request.read(), key=key)
        name = self._history.invoke(kind, lease, body, by=self._by)
        try:
            answer = self._wire.handle_request(request)
            content = answer.read()
        except httpx2.TransportError as error:
            self._history.unknown(name, f"{type(error).__name__}: {error}")
            raise
        self._history.known(name, answer.status_code, shortened(kind, content))
        self.poll_after = float(answer.headers.get("srtune-poll-after", self.poll_after))
        return answer

    def close(self) -> None:
        self._wire.close()


def described(
    method: str, path: str, content: bytes, *, key: str = ""
) -> tuple[str, str, dict[str, Any]]:
    """Kind, lease and body of a request, as the history has them; `key` is its Idempotency-Key."""
    parts = path.removeprefix("/api/v1/").strip("/").split("/")
    if parts[0] == "blobs":
        return "blob", "", {"method": method, "sha256": parts[1]}
    body = _json(content)
    body = body if isinstance(body, dict) else {}
    if method == "POST":
        if parts[0] == "leases":
            return ("lease", "", body) if len(parts) == 1 else (parts[2], parts[1], body)
        if parts == ["workers"]:
            return "register", "", {"name": body.get("name", "")}
        if parts == ["studies"]:
            return "study", "", {"name": body.get("name", ""), "key": key}
    return "other", "", {"method": method, "path": path}


def shortened(kind: str, content: bytes) -> Any:
    """An answer without what the checker never asks about; leases carry whole definitions."""
    found = _json(content)
    if kind == "lease" and isinstance(found, list):
        return [
            {
                "id": lease["id"],
                "token": lease["token"],
                "uid": lease["job"]["uid"],
                "study": lease["job"]["study_id"],
                "number": lease["job"]["number"],
                "attempt": lease["job"]["attempt"],
            }
            for lease in found
        ]
    if isinstance(found, dict) and "error" in found:
        return {"error": found["error"], "detail": found.get("detail", "")}
    if kind == "study" and isinstance(found, dict):
        return {"id": found["id"]}
    return found if kind in WRITES or kind == "register" else None


def read(paths: Iterable[Path]) -> list[Operation]:
    """Every operation of these files, in order of their beginnings."""
    begun: dict[str, dict[str, Any]] = {}
    for path in paths:
        for line in path.read_bytes().splitlines():
            event = _json(line)
            # A process killed in mid-line leaves half of one.
            if isinstance(event, dict):
                begun.setdefault(event["id"], {}).update(event)
    operations = [Operation(**event) for event in begun.values() if "begun" in event]
    return sorted(operations, key=lambda one: one.begun)


def digest(value: Any) -> str:
    """A short name of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def now() -> float:
    return time.monotonic()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
