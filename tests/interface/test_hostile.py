"""What no well-meaning client sends, byte by byte, against the whole service."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.interface.conftest import words
from tests.interface.site import ROOT, Site, running

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_SECRET = b"nobody outside may read this"
_AUTH = b"Host: localhost\r\nAuthorization: Bearer %s\r\n" % ROOT.encode()


@dataclass
class Wire:
    """Raw connections to a site."""

    site: Site

    def send(self, *pieces: bytes, pause: float = 0.0, patience: float = 5.0) -> bytes:
        """What comes back until the server closes or says nothing for `patience` seconds."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.site.port), timeout=patience) as link:
            try:
                for piece in pieces:
                    link.sendall(piece)
                    time.sleep(pause)
                while piece := link.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionError):
                pass
        return answer

    def statuses(self, *pieces: bytes, **options: Any) -> list[int]:
        """The status of every answer to these bytes."""
        return [int(found) for found in _STATUS.findall(self.send(*pieces, **options))]

    def lives(self) -> bool:
        """Whether others are answered."""
        begun = time.monotonic()
        answered = self.site.ask("GET", "/api/v1/studies").status_code == 200
        return answered and time.monotonic() - begun < 10.0


@pytest.fixture(scope="module")
def wire(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A site with little patience; beside its data lies what must not be found."""
    data = tmp_path_factory.mktemp("hostile")
    (data / "secret").write_bytes(_SECRET)
    (data / "data" / "blobs").mkdir(parents=True)
    (data / "data" / "secret").write_bytes(_SECRET)
    database = data / "data" / "srtune.db"
    database.write_bytes(sqlite_template.read_bytes())
    options = {"head_seconds": 1.0, "body_seconds": 1.0, "max_body": 10_000}
    with running(f"sqlite:///{database}", words(), data / "data", **options) as site:
        yield Wire(site)


# -- paths ---------------------------------------------------------------------------------------

_STEPS_UP = [
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "%252e%252e%252f", "..%c0%af",
    "%c0%ae%c0%ae/", "..;/", ".../", "..%00/", "....//", "%u002e%u002e/", "..%ef%bc%8f", "./../",
]  # fmt: skip
_TARGETS = ["secret", "srtune.db", "etc/passwd", "proc/self/environ"]
_ROOTS = ["/api/v1/blobs/", "/api/v1/studies/", "/docs/", "/mlflow/", "/"]


def _climbs() -> list[str]:
    climbs = [
        root + step * times + target
        for root in _ROOTS
        for step in _STEPS_UP
        for times, target in zip((1, 2, 8, 8), _TARGETS, strict=True)
    ]
    absolute = [
        f"{root}{quote(way, safe='')}" for root in _ROOTS for way in ("/etc/passwd", "//etc")
    ]
    return [
        *climbs,
        *absolute,
        "//etc/passwd",
        "/api/v1/blobs//etc/passwd",
        "/%00",
        "/\x7f",
        "/\xff",
    ]


def test_no_spelling_of_a_path_leads_out_of_the_data(wire: Wire) -> None:
    line, data = "{} {} HTTP/1.1\r\n", wire.site.service.settings.data
    stored = _files(data / "blobs")
    for method in ("GET", "PUT", "DELETE"):
        for path in _climbs():
            if method == "DELETE" and "studies" not in path:
                continue
            sent = line.format(method, path).encode("latin-1") + _AUTH
            answer = wire.send(sent + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            [status] = _STATUS.findall(answer)
            assert 400 <= int(status) < 500, (method, path, answer)
            assert _SECRET not in answer
            assert b"root:" not in answer
            assert b"SQLite format" not in answer
    assert (data / "secret").read_bytes() == (data.parent / "secret").read_bytes() == _SECRET
    assert _files(data / "blobs") == stored


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


# -- one request that is two ---------------------------------------------------------------------

_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_HIDDEN = b"DELETE /api/v1/owners/victim HTTP/1.1\r\n" + _AUTH + b"\r\n"
_POST = (
    b"POST /api/v1/studies/validate HTTP/1.1\r\n" + _AUTH + b"Content-Type: application/json\r\n"
)
_SMUGGLED = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 200\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 200\r\n\r\n{}",
    "a signed length": b"Content-Length: +2\r\n\r\n{}",
    "a negative length": b"Content-Length: -2\r\n\r\n{}",
    "a length in hex": b"Content-Length: 0x2\r\n\r\n{}",
    "a length over 64 bits": b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "a space before the colon": b"Content-Length : 2\r\nTransfer-Encoding : chunked\r\n\r\n{}",
    "a folded header": b"X-A: b\r\n Content-Length: 200\r\nContent-Length: 2\r\n\r\n{}",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, then identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a tab in the name": b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of a negative size": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk over 64 bits": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    "a bare CR": b"X-A: b\rContent-Length: 2\r\n\r\n",
    "a NUL in a header": b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
}


def test_a_request_of_doubtful_length_is_refused_or_is_one(wire: Wire) -> None:
    """A proxy may see one request where we see two; what is in doubt must not be gone on with."""
    plain = b"Content-Length: 2\r\n\r\n{}"
    tricks = {"nothing doubtful": plain, **_SMUGGLED}
    names = {trick: f"victim{number}" for number, trick in enumerate(tricks)}
    for name in names.values():
        wire.site.told("PUT", f"/owners/{name}", json={"weight": 2.0})

    def smuggle(trick: str) -> list[int]:
        hidden = _HIDDEN.replace(b"victim", names[trick].encode())
        return wire.statuses(_POST + tricks[trick] + hidden)

    with ThreadPoolExecutor(len(tricks)) as pool:
        answers = dict(zip(tricks, pool.map(smuggle, tricks), strict=True))
    left = {owner["name"] for owner in wire.site.told("GET", "/owners")}
    # Two plain requests behind each other are two: what is looked for would be seen.
    assert [trick for trick in tricks if names[trick] not in left] == ["nothing doubtful"]
    assert answers.pop("nothing doubtful") == [200, 204]
    for trick, statuses in answers.items():
        assert all(status < 500 for status in statuses), (trick, statuses)
        assert len(statuses) <= 1, (trick, statuses)
    assert wire.lives()


# -- bodies and heads ----------------------------------------------------------------------------


_ENDLESS = {
    "announced": b"Content-Length: 99999999999\r\n\r\n",
    "whole": b"Content-Length: 20000\r\n\r\n" + b" " * 20_000,
    "torn chunk": _CHUNKED + b"1000\r\n" + b" " * 4096 + b"\r\n",
    "chunks": _CHUNKED + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 5,
    "extension": _CHUNKED + b"1;" + b"x" * 100_000 + b"\r\n",
    "crumbs": _CHUNKED + b"1\r\n \r\n" * 20_000 + b"0\r\n\r\n",
    "torn": b"Content-Length: 100\r\n\r\n{",
}


def test_a_body_that_is_too_large_or_never_ends_is_refused(wire: Wire) -> None:
    with ThreadPoolExecutor(len(_ENDLESS)) as pool:
        sent = pool.map(lambda body: wire.statuses(_POST + body), _ENDLESS.values())
        answers = dict(zip(_ENDLESS, sent, strict=True))
    for kind, statuses in answers.items():
        assert statuses[:1] in ([408], [413], [400], [431]), (kind, statuses)
    assert wire.lives()


_ABSURD: dict[str, bytes] = {
    "a value of 100 kB": b"GET / HTTP/1.1\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "5,000 headers": b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n",
    "a path of 100 kB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    "a name in Latin": b"GET / HTTP/1.1\r\nX-\xe9: b\r\nHost: localhost\r\n\r\n",
    "a value in Latin": b"GET /api/v1/studies HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xe9\xff\r\n\r\n",
    "two tokens": b"GET /api/v1/studies HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\n" + _AUTH + b"\r\n",
    "an odd method": b"BREW /api/v1/studies HTTP/1.1\r\n" + _AUTH + b"\r\n",
    "TRACE": b"TRACE /api/v1/studies HTTP/1.1\r\n" + _AUTH + b"\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n" + _AUTH + b"\r\n",
    "another server's address": b"GET http://evil.example/api/v1/studies HTTP/1.1\r\n" + _AUTH + b"\r\n",
    "HTTP/0.9": b"GET /api/v1/studies\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an upgrade to h2c": b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "a web socket": b"GET /api/v1/studies HTTP/1.1\r\n" + _AUTH + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "noise": bytes(range(256)) * 20,
    "empty lines": b"\r\n" * 1000,
    "Expect": b"PUT /api/v1/blobs/" + b"0" * 64 + b" HTTP/1.1\r\n" + _AUTH + b"Expect: 200-maybe\r\nContent-Length: 3\r\n\r\nabc",
    "a range of ranges": b"GET /api/v1/blobs/" + b"0" * 64 + b" HTTP/1.1\r\n" + _AUTH + b"Range: bytes=" + b"0-," * 1000 + b"\r\n\r\n",
}  # fmt: skip


def test_an_absurd_request_is_answered_by_no_more_than_a_refusal(wire: Wire) -> None:
    with ThreadPoolExecutor(len(_ABSURD)) as pool:
        answers = dict(zip(_ABSURD, pool.map(wire.send, _ABSURD.values()), strict=True))
    for absurd, answer in answers.items():
        statuses = [int(status) for status in _STATUS.findall(answer)]
        assert all(100 <= status < 500 for status in statuses), (absurd, answer)
        assert b"Traceback" not in answer
        assert ROOT.encode() not in answer
    assert wire.lives()


def test_ranges_of_an_object_are_those_asked_for_or_none(wire: Wire) -> None:
    stored = wire.site.blob(b"0123456789")
    path = f"/api/v1/blobs/{stored['sha256']}"

    def ask(ranges: str) -> tuple[int, bytes]:
        answer = wire.site.ask("GET", path, headers={"range": ranges})
        return answer.status_code, answer.content

    assert ask("bytes=2-4") == (206, b"234")
    assert ask("bytes=-3") == (206, b"789")
    for wrong in ("bytes=99-", "bytes=5-2", "bytes=x", "bytes=-", "bytes=" + "0-1," * 5000):
        status, content = ask(wrong)
        assert status in (200, 206, 400, 416, 431), wrong
        assert len(content) < 2_000_000


# -- many at once --------------------------------------------------------------------------------


def test_hundreds_of_slow_clients_of_every_kind_stop_nobody(wire: Wire) -> None:
    pieces: list[Callable[[], list[int]]] = [
        lambda: wire.statuses(b"GET /api/v1/stud"),
        lambda: wire.statuses(_POST + b"Content-Length: 100\r\n\r\n{"),
        lambda: wire.statuses(_POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
        lambda: wire.statuses(
            (_POST + b"Content-Length: 100\r\n\r\n").replace(b"POST /api/v1/studies/validate", b"PUT /api/v1/blobs/" + b"0" * 64)
        ),
        lambda: wire.statuses(b""),
    ]  # fmt: skip
    with ThreadPoolExecutor(150) as pool:
        waiting = [pool.submit(piece) for piece in pieces * 30]
        for _ in range(10):
            assert wire.lives()
        answers = [each.result() for each in waiting]
    assert {status for statuses in answers for status in statuses} <= {408}
    assert sum(map(len, answers)) >= 90  # those that had begun were told
    assert wire.lives()
