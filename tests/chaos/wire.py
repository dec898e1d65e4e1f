"""A wire between clients and replicas that delays, loses, doubles and reorders requests.

An HTTP/1.1 proxy of one request per connection. What it does to a request is drawn anew for each;
what came of every copy that reached a replica is written down, so that repeats can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11

from tests.chaos.history import History, described, shortened

#: A silent replica (stopped, cut off) is given up on after this; the client has long gone by then.
_PATIENCE = 20.0
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Weather:
    """Probabilities per request, and the longest delay in seconds."""

    lose: float = 0.0  #: it never arrives
    cut: float = 0.0  #: it arrives and is done; the answer does not come back
    double: float = 0.0  #: it arrives twice, the copies side by side or one later
    late: float = 0.0  #: the client hears nothing and goes on; it arrives after later requests
    slow: float = 0.0  #: it is held up for a while
    delay: float = 0.0
    #: A one-way cut: everything arrives, no answer comes back; or nothing arrives at all.
    deaf: bool = False
    dumb: bool = False


CLEAR = Weather()


@dataclass
class Request:
    """One request as it came from a client, whole."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    content: bytes


@dataclass
class Wire:
    """Listens on `host`:`port` and passes requests on to the replicas in turn.

    `weather` may be replaced at any time, from any thread. `counts` says what was done to requests.
    """

    replicas: list[int]
    history: History
    host: str = "127.0.0.1"
    seed: int = 0
    weather: Weather = CLEAR
    usual: Weather = CLEAR  #: what it goes back to after each fault
    port: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._turn = 0
        self._late: set[asyncio.Task[bytes]] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @contextmanager
    def open(self) -> Iterator[Wire]:
        """Run in a thread of its own inside of this block."""
        loop, ready = asyncio.new_event_loop(), threading.Event()
        ended = asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._client, self.host, self.port, backlog=512)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            async with server:
                await ended.wait()

        def run() -> None:
            with contextlib.closing(loop):
                loop.run_until_complete(serve())
                loop.run_until_complete(_cancel_others())

        thread = threading.Thread(target=run, name="wire", daemon=True)
        thread.start()
        if not ready.wait(10):
            raise TimeoutError("the wire did not open within 10 s")
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            if request is not None:
                answer = await self._carry(request)
                if answer:
                    writer.write(answer)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.counts["client gone"] += 1
        except asyncio.CancelledError:
            return  # the wire closes; asyncio would complain about each
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _carry(self, request: Request) -> bytes:
        """Do to the request what the weather says; the answer's bytes, none if it is lost."""
        weather, draw = self.weather, self._draw
        self.counts["through the wire"] += 1
        if weather.dumb or draw.random() < weather.lose:
            self.counts["lost"] += 1
            return b""
        if draw.random() < weather.slow:
            self.counts["delayed"] += 1
            await asyncio.sleep(draw.random() * weather.delay)
        if draw.random() < weather.late:
            self.counts["reordered"] += 1
            self._later(request, draw.random() * weather.delay)
            return b""
        copies = [self._deliver(request)]
        if draw.random() < weather.double:
            self.counts["doubled"] += 1
            if draw.random() < 0.5:
                copies.append(self._deliver(request))
            else:
                self._later(request, draw.random() * weather.delay)
        answers = await asyncio.gather(*copies)
        if weather.deaf or draw.random() < weather.cut:
            self.counts["answers cut"] += 1
            return b""
        return draw.choice(answers)

    def _later(self, request: Request, seconds: float) -> None:
        async def deliver() -> bytes:
            await asyncio.sleep(seconds)
            return await self._deliver(request)

        task = asyncio.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _deliver(self, request: Request) -> bytes:
        """Send one copy to the next replica; empty when it broke off."""
        self._turn += 1
        port = self.replicas[self._turn % len(self.replicas)]
        key = dict(request.headers).get(b"idempotency-key", b"").decode()
        kind, lease, body = described(request.method, request.target, request.content, key=key)
        name = self.history.invoke(kind, lease, body)
        try:
            answer = await asyncio.wait_for(_exchange(request, port), _PATIENCE)
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            h11.RemoteProtocolError,
        ) as error:
            self.history.unknown(name, type(error).__name__)
            return b""
        status, content = _parsed(answer, request.method)
        self.history.known(name, status, shortened(kind, content))
        return answer


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a client, whole; None when it hung up."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_CHUNK)
    head: h11.Request | None = None
    content = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            method, target = head.method.decode(), head.target.decode()
            return Request(method, target, list(head.headers), bytes(content))
        else:
            return None


async def _exchange(request: Request, port: int) -> bytes:
    """Send a request over a connection of its own; every byte of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        dropped = (b"host", b"connection", b"content-length", b"transfer-encoding", b"expect")
        headers = [(name, value) for name, value in request.headers if name not in dropped]
        headers += [
            (b"host", f"127.0.0.1:{port}".encode()),
            (b"connection", b"close"),
            (b"content-length", str(len(request.content)).encode()),
        ]
        lines = [f"{request.method} {request.target} HTTP/1.1".encode()]
        lines += [name + b": " + value for name, value in headers]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + request.content)
        await writer.drain()
        answer = await reader.read(-1)
    finally:
        writer.close()
    _parsed(answer, request.method)  # raises if the replica died in mid-answer
    return answer


def _parsed(answer: bytes, method: str) -> tuple[int, bytes]:
    """Status and content of a whole answer; RemoteProtocolError for a part of one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(answer)
    connection.receive_data(b"")
    status, content = 0, bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(content)
        elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("the replica broke off")


async def _cancel_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
