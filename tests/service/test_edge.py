"""What strangers, slow clients and pages of other sites hear before any route sees them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request
from pydantic import ValidationError

from service import edge
from service.api import problems
from service.contract.access import Caller
from service.edge.buckets import Buckets, Guesses
from service.edge.patience import patient, room_for_connections
from service.settings import Settings
from service.tokens import Pass, Scope

_RIGHT = Pass(Caller("t1", "ann", frozenset(Scope)))
_WRONG = Pass(None, "wrong", unknown=True)


def _echo() -> FastAPI:
    """A service whose routes tell what reached them, and which knows one token."""
    app = FastAPI()

    @app.api_route("/api/v1/echo", methods=["GET", "POST", "DELETE"])
    @app.api_route("/api/v1/leases", methods=["POST"])
    @app.api_route("/api/v1/blobs/{name}", methods=["PUT"])
    @app.api_route("/healthz", methods=["GET"])
    async def echo(request: Request) -> dict[str, int]:
        sent = request.headers.get("authorization")
        if sent is not None:
            request.state.worth = _RIGHT if sent == "Bearer right" else _WRONG
            request.state.worth.admitted()
        return {"bytes": len(await request.body())}

    problems.install(app)
    return app


@dataclass
class Edge:
    """A small service behind the edge, on a real port."""

    port: int
    bare: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.bare = httpx2.Client(base_url=self.url, timeout=10.0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def http(self, method: str, path: str = "/api/v1/echo", **options: Any) -> httpx2.Response:
        """A bare request; one client for all, because making one costs more than asking."""
        return self.bare.request(method, path, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10.0)

    def raw(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """What comes back until the server closes or falls silent for 20 seconds."""
        with self.connect() as connection:
            connection.settimeout(20.0)
            answer = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                while piece := connection.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionError):
                pass
            return answer


@pytest.fixture
def at_the_edge(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Starts small services; arguments are settings."""
    started: list[tuple[uvicorn.Server, threading.Thread, Edge]] = []

    def start(**changes: Any) -> Edge:
        settings = Settings(data=tmp_path, **changes)
        app = _echo()
        edge.install(app, settings)
        protocol = patient(settings.head_seconds)
        config = uvicorn.Config(app, port=0, http=protocol, log_level="critical", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30.0
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        started.append((server, thread, Edge(port)))
        return started[-1][2]

    yield start
    for server, thread, each in started:
        each.bare.close()
        server.should_exit = True
        thread.join(20.0)


At = Callable[..., Edge]
JSON = {"content-type": "application/json"}


def _is_problem(answer: httpx2.Response, status: int, error: str) -> bool:
    body = answer.json()
    return (
        (answer.status_code, body["status"], body["error"]) == (status, status, error)
        and answer.headers["content-type"] == "application/problem+json"
        and len(body["detail"]) > 20
    )


# -- host ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "LOCALHOST:8470", "localhost.", "[::1]:8470"]
)
def test_on_loopback_this_machine_is_known_by_its_names(at_the_edge: At, host: str) -> None:
    assert at_the_edge().http("GET", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "10.evil.com", "127.0.0.1.evil.com", "localhost:evil", "localhost@evil", ""],
)
def test_on_loopback_a_name_of_somebody_else_is_refused(at_the_edge: At, host: str) -> None:
    answer = at_the_edge().http("POST", headers={"host": host})
    assert _is_problem(answer, 421, "WrongHost")


def test_two_hosts_in_one_request_are_refused(at_the_edge: At) -> None:
    twice = (
        b"GET /api/v1/echo HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n"
    )
    assert at_the_edge().raw(twice).startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


def test_further_names_are_those_of_the_settings(at_the_edge: At) -> None:
    server = at_the_edge(hosts="lab, Tuner.example.org", public_url="https://srtune.example.org/x")
    for host in ("lab:8470", "tuner.example.org", "srtune.example.org", "localhost"):
        assert server.http("GET", headers={"host": host}).status_code == 200, host
    assert server.http("GET", headers={"host": "example.org"}).status_code == 421


def test_off_loopback_any_name_will_do_unless_names_are_given(at_the_edge: At) -> None:
    assert at_the_edge(host="0.0.0.0").http("GET", headers={"host": "gpu7"}).status_code == 200
    named = at_the_edge(host="0.0.0.0", hosts="lab")
    assert named.http("GET", headers={"host": "gpu7"}).status_code == 421
    assert named.http("GET", headers={"host": "lab"}).status_code == 200
    # A probe asks by the address it was given.
    assert named.http("GET", "/healthz", headers={"host": "10.0.0.7:8470"}).status_code == 200


# -- origin --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "file://", "", "http://[", "x"]
)
def test_a_page_of_another_site_changes_nothing(at_the_edge: At, origin: str) -> None:
    server = at_the_edge()
    assert _is_problem(server.http("POST", headers={"origin": origin}), 403, "Forbidden")
    assert _is_problem(server.http("DELETE", headers={"origin": origin}), 403, "Forbidden")
    reading = server.http("GET", headers={"origin": origin})
    assert reading.status_code == 200
    assert "access-control-allow-origin" not in reading.headers


def test_our_own_page_and_those_of_the_settings_may_write(at_the_edge: At) -> None:
    server = at_the_edge(origins="https://lab.example.org", public_url="https://srtune.example.org")
    for origin in (server.url, "https://lab.example.org", "https://srtune.example.org"):
        assert server.http("POST", headers={"origin": origin}).status_code == 200, origin
    assert server.http("POST").status_code == 200


def test_pages_of_the_settings_may_read_answers_and_refusals(at_the_edge: At) -> None:
    server = at_the_edge(origins="https://lab.example.org", max_body=10)
    lab = {"origin": "https://lab.example.org"}
    asked = lab | {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,idempotency-key",
    }
    preflight = server.http("OPTIONS", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == lab["origin"]
    refused = server.http("POST", headers=lab, json={"more": "than ten bytes"})
    assert refused.status_code == 413
    assert refused.headers["access-control-allow-origin"] == lab["origin"]
    foreign = server.http("OPTIONS", headers=asked | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize(
    "origins", ["*", "lab.example.org", "https://*.example.org", "https://a/b"]
)
def test_origins_are_single_sites(origins: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(origins=origins)


# -- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
def test_a_json_route_takes_json_that_says_so(at_the_edge: At, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = at_the_edge().http("POST", content=b'{"a":1}', headers=headers)
    assert _is_problem(answer, 415, "UnsupportedMedia")


def test_json_may_name_its_alphabet_but_not_be_packed(at_the_edge: At) -> None:
    server = at_the_edge()
    utf8 = {"content-type": "Application/JSON; charset=utf-8"}
    assert server.http("POST", content=b"{}", headers=utf8).json() == {"bytes": 2}
    packed = utf8 | {"content-encoding": "gzip"}
    assert server.http("POST", content=b"{}", headers=packed).status_code == 415
    assert server.http("POST").json() == {"bytes": 0}
    # Objects are bytes of any type.
    assert server.http("PUT", "/api/v1/blobs/x", content=b"abc").json() == {"bytes": 3}


def test_a_body_over_the_limit_is_refused_announced_or_not(at_the_edge: At) -> None:
    server = at_the_edge(max_body=100_000)
    fits, large = b" " * 100_000, b" " * 3_000_000
    assert server.http("POST", content=fits, headers=JSON).json() == {"bytes": 100_000}
    assert _is_problem(server.http("POST", content=large, headers=JSON), 413, "TooLarge")
    streamed = (large[at : at + 10_000] for at in range(0, len(large), 10_000))
    assert _is_problem(server.http("POST", content=streamed, headers=JSON), 413, "TooLarge")
    stored = server.http("PUT", "/api/v1/blobs/x", content=iter([large]))
    assert stored.json() == {"bytes": 3_000_000}


def test_an_answer_to_what_was_refused_can_be_read_and_the_connection_used_again(
    at_the_edge: At,
) -> None:
    with httpx2.Client(base_url=at_the_edge(max_body=1000).url) as client:
        for _ in range(3):
            assert (
                client.post("/api/v1/echo", content=b" " * 200_000, headers=JSON).status_code == 413
            )
            assert client.post("/api/v1/echo", json={}).status_code == 200


_HEAD = (
    b"POST /api/v1/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n"
)


def test_a_body_that_does_not_come_is_not_waited_for(at_the_edge: At) -> None:
    server = at_the_edge(body_seconds=0.3, head_seconds=0.3)
    begun = time.monotonic()
    answer = server.raw(_HEAD % b"echo", b'{"a":')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"error":"RequestTimeout"' in answer
    put = server.raw((_HEAD % b"blobs/x").replace(b"POST", b"PUT"), b"12")
    assert put.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - begun < 15.0


def test_a_stream_that_keeps_coming_may_take_its_time(at_the_edge: At) -> None:
    server = at_the_edge(body_seconds=0.5)

    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            time.sleep(0.15)
            yield b" " * 50_000

    assert server.http("PUT", "/api/v1/blobs/x", content=pieces()).json() == {"bytes": 400_000}
    # The same in drops is a stalling client.
    drops = (_HEAD % b"blobs/x").replace(b"POST", b"PUT"), *[b"x"] * 3
    assert server.raw(*drops, pause=0.15).startswith(b"HTTP/1.1 408")


# -- slow heads, idle connections --------------------------------------------------------------------


def test_a_head_in_drops_is_cut_off(at_the_edge: At) -> None:
    server = at_the_edge(head_seconds=0.4)
    begun = time.monotonic()
    answer = server.raw(*[b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 3], pause=0.1)
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - begun < 10.0


def test_a_head_without_end_is_cut_off(at_the_edge: At) -> None:
    lines = b"X-A: " + b"b" * 1000 + b"\r\n"
    answer = at_the_edge().raw(b"GET / HTTP/1.1\r\n", *[lines * 20] * 10)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")


def test_whoever_says_nothing_is_let_go_and_a_second_request_has_its_own_deadline(
    at_the_edge: At,
) -> None:
    server = at_the_edge(head_seconds=0.4)
    begun = time.monotonic()
    assert server.raw() == b""
    assert 0.2 < time.monotonic() - begun < 15.0
    request = b"GET /api/v1/echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = server.raw(request, b"GET /api/v1/ec", pause=0.05)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_thousands_who_say_nothing_stop_nobody(at_the_edge: At) -> None:
    room_for_connections()
    server = at_the_edge(head_seconds=30.0)
    idle = []
    try:
        for number in range(2000):
            idle.append(server.connect())
            if number % 2:
                idle[-1].sendall(b"GET /api/v1/ec")
        begun = time.monotonic()
        assert server.http("GET").status_code == 200
        assert time.monotonic() - begun < 10.0
    finally:
        for connection in idle:
            connection.close()


# -- rates and guesses ---------------------------------------------------------------------------


def test_who_asks_too_often_hears_when_to_come_back(at_the_edge: At) -> None:
    server = at_the_edge(rate=0.2)
    answers = [server.http("GET") for _ in range(10)]
    assert answers[0].status_code == 200
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert _is_problem(refused, 429, "RateLimited")
    assert int(refused.headers["retry-after"]) >= 1
    # Another token has a bucket of its own.
    assert server.http("GET", headers={"authorization": "Bearer right"}).status_code == 200


def test_calls_about_leases_count_a_tenth(at_the_edge: At) -> None:
    server = at_the_edge(rate=5.0)
    assert {server.http("POST", "/api/v1/leases", json={}).status_code for _ in range(60)} == {200}


def test_a_bucket_fills_again_at_its_rate() -> None:
    buckets = Buckets(10.0)
    granted = [at for at in range(1000) if buckets.wait(1, 100.0 + at / 100) == 0.0]
    # Two seconds' worth at once, then ten a second for ten seconds.
    assert len(granted) == pytest.approx(20 + 100, abs=2)
    assert buckets.wait(2, 110.0) == 0.0


def test_wrong_tokens_make_an_address_wait_longer_and_longer(at_the_edge: At) -> None:
    server = at_the_edge(guesses=3)

    def ask(token: str) -> httpx2.Response:
        return server.http("GET", headers={"authorization": f"Bearer {token}"})

    assert ask("right").status_code == 200
    assert [ask(f"guess{number}").status_code for number in range(4)] == [401] * 4
    # Each further one waits longer than the one before.
    further = (ask(f"guess{number}") for number in range(4, 40))
    locked = next(answer for answer in further if answer.status_code != 401)
    assert _is_problem(locked, 429, "RateLimited")
    assert int(locked.headers["retry-after"]) >= 1
    # Who showed a valid token before goes on, and who shows none hears what he always did.
    assert ask("right").status_code == 200
    assert server.http("GET").status_code == 200


def test_the_same_wrong_token_is_one_guess(at_the_edge: At) -> None:
    server = at_the_edge(guesses=3)
    old = {"authorization": "Bearer of last year"}
    assert {server.http("GET", headers=old).status_code for _ in range(30)} == {401}


def test_a_lock_grows_to_minutes_and_is_forgotten() -> None:
    guesses, at, waits = Guesses(2), 0.0, []
    for key in range(14):
        guesses.was_wrong("10.0.0.1", key, at)
        waits.append(guesses.wait("10.0.0.1", 99, at))
        at += waits[-1] + 0.01
    assert waits == pytest.approx([0.0, 0.0, *[min(2.0**power, 300.0) for power in range(12)]])
    assert guesses.wait("10.0.0.2", 99, at - 1.0) == 0.0
    guesses.was_wrong("10.0.0.1", 99, at + 601.0)
    assert guesses.wait("10.0.0.1", 100, at + 601.0) == 0.0


def test_a_guesser_with_a_network_of_addresses_is_one_guesser() -> None:
    guesses = Guesses(2)
    for key in range(4):
        guesses.was_wrong(f"2001:db8:0:1::{key}", key, 5.0)
    assert guesses.wait("2001:db8:0:1:ffff::", 99, 5.0) > 0.0
    assert guesses.wait("2001:db8:0:2::1", 99, 5.0) == 0.0


# -- every answer --------------------------------------------------------------------------------


def test_every_answer_says_that_it_is_what_it_says(at_the_edge: At) -> None:
    server = at_the_edge()
    for answer in (
        server.http("GET"),
        server.http("GET", "/nothing"),
        server.http("POST", content=b"x"),
        server.http("GET", headers={"host": "evil"}),
    ):
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert json.loads(answer.content)
