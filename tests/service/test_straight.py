"""The short way of the workers' routes answers as the declared routes do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.straight import Straight
from service.app import create_app
from service.contract.access import Scope
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.settings import Settings
from service.tokens import create_token


@pytest.fixture
def ways(
    database_url: str, database: Database, vocabulary: Vocabulary, tmp_path: Path
) -> Iterator[list[tuple[TestClient, dict[str, str]]]]:
    """The service as it is, and the same without the short way; with a header of every kind."""
    with database.writing() as session:
        headers = {
            scope.value: f"Bearer {create_token(session, scope.value, [scope])}"
            for scope in (Scope.WORKER, Scope.READ)
        }
    settings = Settings(data=tmp_path, database=database_url, mlflow=False)
    short = create_app(settings, vocabulary, background=False)
    declared = create_app(settings, vocabulary, background=False)
    declared.router.routes[:] = [
        route for route in declared.router.routes if not isinstance(route, Straight)
    ]
    assert len(declared.router.routes) == len(short.router.routes) - 1
    with (
        TestClient(short, base_url="http://localhost") as one,
        TestClient(declared, base_url="http://localhost") as other,
    ):
        yield [(one, headers), (other, headers)]


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("worker", "/leases", {"json": {"worker": "w"}}),
    ("worker", "/leases", {"json": {"worker": "w", "capacity": 0}}),
    ("worker", "/leases", {"json": {"worker": "w", "unknown": 1}}),
    ("worker", "/leases", {"json": []}),
    ("worker", "/leases", {"content": b"{", "headers": {"content-type": "application/json"}}),
    ("worker", "/leases", {"content": b"\xff{}", "headers": {"content-type": "application/json"}}),
    (
        "worker",
        "/leases",
        {"content": b"[" * 9000, "headers": {"content-type": "application/json"}},
    ),
    ("worker", "/leases", {"content": b"", "headers": {"content-type": "application/json"}}),
    ("worker", "/leases", {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ("read", "/leases", {"json": {"worker": "w"}}),
    ("nobody", "/leases", {"json": {"worker": "w"}}),
    ("worker", "/leases/l1/heartbeat", {"json": {"token": 1, "step": 2}}),
    ("worker", "/leases/l1/heartbeat", {"json": {"token": 1, "step": -2}}),
    ("worker", f"/leases/{'x' * 65}/heartbeat", {"json": {"token": 1, "step": 2}}),
    ("worker", "/leases/%2e%2e/heartbeat", {"json": {"token": 1, "step": 2}}),
    ("worker", "/leases/l1/reports", {"json": {"token": 1, "step": 2, "metrics": {"a": 1}}}),
    ("worker", "/leases/l1/result", {"json": {"token": 1, "step": 2, "metrics": {}}}),
    ("worker", "/leases/l1/failure", {"json": {"token": 1, "cause": "tired", "message": ""}}),
    ("worker", "/leases/l1/failure", {"json": {"token": 1, "cause": "error", "message": ""}}),
    ("worker", "/leases/l1/release", {"json": {"token": 1}}),
    ("read", "/leases/l1/release", {"json": {"token": 1}}),
    ("worker", "/leases/l1/nonsense", {"json": {"token": 1}}),
    ("worker", "/leases/l1/a/b", {"json": {"token": 1}}),
    ("worker", "/leases/l1", {"json": {"token": 1}}),
    ("worker", "/leases/", {"json": {"token": 1}}),
]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_both_ways_answer_alike(ways: list[tuple[TestClient, dict[str, str]]]) -> None:
    for who, path, options in REQUESTS:
        answers = []
        for client, headers in ways:
            sent = {**options.get("headers", {}), "authorization": headers.get(who, "Bearer no")}
            answer = client.post(f"/api/v1{path}", **{**options, "headers": sent})
            body = answer.json() if answer.content else None
            answers.append((answer.status_code, answer.headers.get("content-type"), body))
        assert answers[0] == answers[1], path
