"""The application's own life: what it opens, refuses and closes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from service.app import create_app
from service.contract.errors import InvalidRequest, Unavailable
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.pulse import Pulse
from service.settings import Settings
from service.tokens import Scope, create_token

#: Names that are not this machine's are refused.
_HERE = "http://localhost"


class Book:
    """A lab book that answers everything with its one page, and is written to by POST."""

    def __init__(self) -> None:
        self.router: APIRouter | None = APIRouter()
        self.router.add_api_route(
            "/mlflow/{path:path}", lambda: {"page": 1}, methods=["GET", "POST"]
        )
        self.open = True

    def status(self) -> str:
        return "ready"

    def writes(self, method: str, path: str) -> bool:
        return method == "POST"


def test_the_lab_book_is_opened_served_behind_the_token_and_closed(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    book = Book()

    @contextmanager
    def opened(_settings: Settings, database: Database, _words: Vocabulary) -> Iterator[Book]:
        with database.reading():
            yield book
        book.open = False

    settings = Settings(data=tmp_path / "new", token="secret")
    with TestClient(
        create_app(settings, vocabulary, open_lab_book=opened), base_url=_HERE
    ) as client:
        assert client.get("/mlflow/page").status_code == 401
        asked = client.get("/mlflow/page").headers["www-authenticate"]
        assert asked.startswith("Basic ")  # so that a browser shows its prompt
        allowed = {"authorization": "Bearer secret"}
        assert client.get("/mlflow/page", headers=allowed).json() == {"page": 1}
        assert client.get("/mlflow/page", auth=("anybody", "secret")).json() == {"page": 1}
        assert client.get("/mlflow/page", auth=("anybody", "guess")).status_code == 401
        assert client.get("/readyz").json()["mlflow"] == "ready"
        assert book.open
    assert not book.open


@pytest.mark.parametrize(
    ("scope", "look", "write"), [(Scope.READ, 200, 403), (Scope.WORKER, 200, 200)]
)
def test_pages_are_read_with_a_reading_token_and_written_with_a_worker_s(
    tmp_path: Path, vocabulary: Vocabulary, scope: Scope, look: int, write: int
) -> None:
    @contextmanager
    def opened(_settings: Settings, _database: Database, _words: Vocabulary) -> Iterator[Book]:
        yield Book()

    settings = Settings(data=tmp_path)
    with TestClient(
        create_app(settings, vocabulary, open_lab_book=opened), base_url=_HERE
    ) as client:
        database = Database(settings.database_url)
        with database.writing() as session:
            token = create_token(session, "somebody", [scope])
        database.close()
        headers = {"authorization": f"Bearer {token}"}
        assert client.get("/mlflow/page", headers=headers).status_code == look
        assert client.post("/mlflow/page", headers=headers).status_code == write


def test_other_machines_are_not_served_without_a_token(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    app = create_app(Settings(data=tmp_path, host="0.0.0.0"), vocabulary)
    with pytest.raises(InvalidRequest, match="SRTUNE_TOKEN"), TestClient(app):
        pass


@pytest.mark.parametrize(("mlflow", "page"), [(True, "/mlflow/"), (False, "/docs")])
def test_the_front_door_leads_to_the_pages_there_are(
    tmp_path: Path, vocabulary: Vocabulary, mlflow: bool, page: str
) -> None:
    settings = Settings(data=tmp_path, mlflow=mlflow)
    with TestClient(create_app(settings, vocabulary), base_url=_HERE) as client:
        answer = client.get("/", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, page)


def test_no_thread_is_left_behind(tmp_path: Path, vocabulary: Vocabulary) -> None:
    with TestClient(create_app(Settings(data=tmp_path), vocabulary)):
        running = {thread.name for thread in threading.enumerate()}
    assert {"proposer", "reaper", "litter"} <= running
    assert {"proposer", "reaper", "litter"}.isdisjoint(t.name for t in threading.enumerate())


def test_a_pulse_goes_on_after_an_outage_and_after_a_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    acts: list[Exception | None] = [Unavailable("the database is away; try again"), KeyError("x")]
    done = threading.Event()

    def act() -> None:
        if not acts:
            done.set()
            return
        error = acts.pop(0)
        if error is not None:
            raise error

    with Pulse("test", act, every=0.01).beating():
        assert done.wait(10.0)
    assert "the database is away" in caplog.text
    assert "KeyError" in caplog.text


def test_a_woken_pulse_does_not_wait() -> None:
    acts = threading.Semaphore(0)
    with Pulse("test", acts.release, every=60.0).beating() as pulse:
        assert acts.acquire(timeout=10.0)
        pulse.wake()
        assert acts.acquire(timeout=10.0)
