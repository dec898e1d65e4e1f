"""The wire does to requests what its weather says, and writes down what came of every copy."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from tests.chaos.history import History, Recorded, read
from tests.chaos.wire import Weather, Wire

BODY = {"token": 1, "step": 7}


class Replica(ThreadingHTTPServer):
    """Answers with what it was sent, and counts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.heard: list[bytes] = []


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Replica)
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.heard.append(content)
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def replica() -> Iterator[Replica]:
    server = Replica()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wire(replica: Replica, tmp_path: Path) -> Iterator[Wire]:
    history = History(tmp_path / "wire.jsonl", "wire")
    with Wire([replica.server_port], history).open() as opened:
        yield opened
    history.close()


@pytest.fixture
def send(wire: Wire, tmp_path: Path) -> Iterator[Callable[[], int | None]]:
    """Sends one heartbeat; its status, None if nothing came back."""
    history = History(tmp_path / "client.jsonl", "client")
    client = httpx2.Client(base_url=wire.url, transport=Recorded(history), timeout=5.0)

    def post() -> int | None:
        try:
            return client.post("/api/v1/leases/l1/heartbeat", json=BODY).status_code
        except httpx2.TransportError:
            return None

    yield post
    client.close()
    history.close()


def test_a_clear_wire_passes_a_request_on_once(
    send: Callable[[], int | None], replica: Replica, tmp_path: Path
) -> None:
    assert send() == 200
    assert [json.loads(heard) for heard in replica.heard] == [BODY]
    (own,) = read([tmp_path / "client.jsonl"])
    assert (own.kind, own.lease, own.body, own.status) == ("heartbeat", "l1", BODY, 200)


def test_a_doubled_request_arrives_twice_and_both_answers_are_written_down(
    send: Callable[[], int | None], wire: Wire, replica: Replica, tmp_path: Path
) -> None:
    wire.weather = Weather(double=1.0)
    assert send() == 200
    _eventually(lambda: len(replica.heard) == 2)
    _eventually(lambda: [o.status for o in read([tmp_path / "wire.jsonl"])] == [200, 200])


def test_a_cut_answer_is_unknown_to_the_client_although_the_request_was_done(
    send: Callable[[], int | None], wire: Wire, replica: Replica, tmp_path: Path
) -> None:
    wire.weather = Weather(cut=1.0)
    assert send() is None
    assert len(replica.heard) == 1
    (own,) = read([tmp_path / "client.jsonl"])
    assert not own.known
    assert not own.refused


def test_a_lost_request_never_arrives(
    send: Callable[[], int | None], wire: Wire, replica: Replica
) -> None:
    wire.weather = Weather(dumb=True)
    assert send() is None
    assert replica.heard == []


def test_a_late_request_arrives_after_its_client_went_on(
    send: Callable[[], int | None], wire: Wire, replica: Replica
) -> None:
    wire.weather = Weather(late=1.0, delay=0.5)
    assert send() is None
    wire.weather = Weather()
    _eventually(lambda: len(replica.heard) == 1)
    assert wire.counts["reordered"] == 1


def test_a_dead_replica_is_an_unknown_answer(
    send: Callable[[], int | None], wire: Wire, tmp_path: Path
) -> None:
    wire.replicas = [1]
    assert send() is None
    (copy,) = read([tmp_path / "wire.jsonl"])
    assert not copy.known


def test_what_a_killed_process_wrote_half_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "agent.jsonl"
    history = History(path, "agent")
    history.invoke("lease", "", {})
    history.close()
    with path.open("ab") as file:
        file.write(b'{"id": "agent-1-1", "cli')
    (one,) = read([path])
    assert not one.known


def _eventually(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.02)
