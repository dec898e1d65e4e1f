"""The lab book as the service opens it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.models import Study
from service.settings import Settings
from service.tracking import open_lab_book


def within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_is_open_at_once_and_fills_its_pages_later(
    tmp_path: Path, database: Database, vocabulary: Vocabulary, study: Study
) -> None:
    with open_lab_book(Settings(data=tmp_path), database, vocabulary) as book:
        assert book.status() == "starting"
        assert book.router is not None
        app = FastAPI()
        app.include_router(book.router)

        def told() -> bool:
            with database.reading() as session:
                return session.scalars(select(Study.told_revision)).one() == study.revision

        assert within(90, told)
        assert book.status() == "ready"
        with TestClient(app) as client:
            assert client.get("/mlflow/").status_code == 200
    assert book.server is not None
    assert book.server.pid is None


def test_off_is_off(tmp_path: Path, database: Database, vocabulary: Vocabulary) -> None:
    with open_lab_book(Settings(data=tmp_path, mlflow=False), database, vocabulary) as book:
        assert (book.router, book.status()) == (None, "off")


def test_another_mlflow_can_be_used(
    tmp_path: Path, port: str, database: Database, vocabulary: Vocabulary, study: Study
) -> None:
    settings = Settings(data=tmp_path, mlflow_uri=f"{port}/mlflow")
    with open_lab_book(settings, database, vocabulary) as book:
        assert book.router is not None
        assert within(30, lambda: book.status() == "ready")
        app = FastAPI()
        app.include_router(book.router)
        with TestClient(app) as client:
            body = {"filter": f"tags.`srt.study_id` = '{study.id}'", "max_results": 10}
            found = client.post("/mlflow/api/2.0/mlflow/experiments/search", json=body)
    assert len(found.json()["experiments"]) == 1


def test_an_mlflow_that_is_away_changes_nothing(
    tmp_path: Path,
    database: Database,
    vocabulary: Vocabulary,
    study: Study,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(data=tmp_path, mlflow_uri="http://127.0.0.1:9")
    with open_lab_book(settings, database, vocabulary) as book:
        assert within(10, lambda: book.status() == "away")
        time.sleep(3)
    assert caplog.text.count("the lab book waits") == 1
