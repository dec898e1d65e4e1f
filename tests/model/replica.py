"""A replica of the service in this process: whole requests through the real ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from service.app import create_app
from service.contract.vocabulary import Vocabulary
from service.proposer import Memories, propose
from service.reaper import sweep
from service.settings import Settings


@dataclass(frozen=True)
class Call:
    """A request as a client remembers it, to send again whenever it likes."""

    act: str  #: which rule of the model judges it: `lease`, `report`, `pause`, ...
    path: str
    body: dict[str, Any] | None = None
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {json.dumps(self.body)[:300]}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    content: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> str | None:
        """The name of the error; none for a success."""
        return self.json["error"] if self.status >= 400 else None

    def __str__(self) -> str:
        return f"{self.status} {self.content[:300].decode()}"


class Replica:
    """One service process, with time and thoughts of its own only when asked for."""

    #: Everything that was ever uploaded, by digest.
    _contents: ClassVar[dict[str, bytes]] = {}

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: Settings, vocabulary: Vocabulary
    ) -> None:
        self.loop, self._settings, self._vocabulary = loop, settings, vocabulary
        self.app = create_app(settings, vocabulary, migrate=False, background=False)
        self._start()

    def stop(self) -> None:
        """End like a process that was asked to."""
        self._order("shutdown")
        self.loop.run_until_complete(self._life)

    def restart(self) -> None:
        """End, and begin again with nothing but the database and the data folder."""
        self.stop()
        self._start()

    def send(self, *calls: Call) -> list[Answer]:
        """Send these at the same time; their answers in the same order."""

        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(*(self.call(call) for call in calls))

        return self.loop.run_until_complete(all_of_them())

    def propose(self) -> None:
        """What the proposer's thread would do now."""
        propose(self.database, self._vocabulary, self._memories)

    def sweep(self) -> list[str]:
        """What the reaper's thread would do now; the uids of trials that lapsed."""
        return sweep(self.database, self._vocabulary, self._settings)

    def store(self, content: bytes) -> dict[str, Any]:
        """Make sure that an object is stored; its name and size as messages carry them."""
        digest = hashlib.sha256(content).hexdigest()
        self._contents[digest] = content
        self.restore(digest)
        return {"sha256": digest, "size": len(content)}

    def restore(self, digest: str) -> None:
        """Upload again what `store` stored, if it has gone meanwhile."""
        blobs = self.app.state.service.blobs
        if not blobs.has(digest):
            with blobs.incoming(digest) as incoming:
                incoming.write(self._contents[digest])
                incoming.finish()

    async def call(self, call: Call) -> Answer:
        """One request through every middleware, as a server would pass it on."""
        body = b"" if call.body is None else json.dumps(call.body).encode()
        received = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.Event()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not received:
                await gone.wait()
                return {"type": "http.disconnect"}
            return received.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(_scope(call, body), receive, send)
        gone.set()
        start = sent[0]
        return Answer(
            status=start["status"],
            content=b"".join(message.get("body", b"") for message in sent[1:]),
            headers={name.decode(): value.decode() for name, value in start["headers"]},
        )

    def _start(self) -> None:
        # The same routes, because making them takes ten times as long as all the rest; what has
        # a memory (connections, ledger, callers, sampler) is made by the application's lifespan.
        orders: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._orders, self._said = orders, said
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}

        async def say(message: Any) -> None:
            await said.put(message)

        life = self.app(scope, orders.get, say)
        self._life = self.loop.create_task(life)
        self._order("startup")
        self.database = self.app.state.service.database
        self._memories = Memories(self._vocabulary)

    def _order(self, what: str) -> None:
        self._orders.put_nowait({"type": f"lifespan.{what}"})
        said = self.loop.run_until_complete(self._said.get())
        assert said["type"] == f"lifespan.{what}.complete", said


def _scope(call: Call, body: bytes) -> dict[str, Any]:
    headers = {"host": "127.0.0.1:8470", "accept": "application/json", **call.headers}
    if call.body is not None:
        headers |= {"content-type": "application/json", "content-length": str(len(body))}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8470),
        "state": {},
    }
