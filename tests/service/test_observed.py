"""What requests leave behind: ids, lines, figures; and readiness while the service ends."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.cli.log import EventFormatter
from service.contract.vocabulary import Vocabulary
from service.settings import Settings

ACCESS = "service.api.observed"
Lines = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def app(tmp_path: Path, vocabulary: Vocabulary) -> FastAPI:
    return create_app(Settings(data=tmp_path, mlflow=False), vocabulary, background=False)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """(level, line as an operator reads it) of every request so far; the oldest first."""
    caplog.set_level(logging.DEBUG, ACCESS)
    written: list[tuple[str, str]] = []

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # In the emitting thread, as a handler does it: the ids are in its context.
            written.append((record.levelname, EventFormatter().format(record)))

    logger = logging.getLogger(ACCESS)
    logger.addHandler(reader := Reader())
    yield lambda: written
    logger.removeHandler(reader)


def figure(client: TestClient, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def register(client: TestClient) -> str:
    answer = client.post("/api/v1/workers", json={"name": "w", "devices": []})
    return str(answer.json()["id"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("deploy-2026.11_a", True),
        ("short", False),
        ("x" * 65, False),
        ("with space and\ttab", False),
        ('quote"quote', False),
        ("a=b a=b a=b", False),
    ],
)
def test_a_request_keeps_its_own_id_if_it_is_sane(
    client: TestClient, lines: Lines, given: str, kept: bool
) -> None:
    answer = client.get("/healthz", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert f"request={answer.headers['x-request-id']} " in lines()[-1][1]


def test_every_answer_names_its_request_also_refusals_and_bugs(
    app: FastAPI, client: TestClient, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/bug")
    def bug() -> None:
        raise KeyError("a bug")

    names = []
    for path, status in (("/nowhere", 404), ("/api/v1/studies/none", 404), ("/bug", 500)):
        answer = client.get(path)
        assert answer.status_code == status
        names.append(answer.headers["x-request-id"])
        assert re.fullmatch(r"[0-9a-f]{16}", names[-1])
    assert "KeyError: 'a bug'" in lines()[-1][1]
    assert names[-1] in lines()[-1][1]
    assert figure(client, 'srtune_rejected_total{status="404"}') == 2
    assert figure(client, 'srtune_rejected_total{status="500"}') == 1


def test_writes_are_told_and_reads_are_whispered(client: TestClient, lines: Lines) -> None:
    worker = register(client)
    client.get("/api/v1/workers")
    client.post("/api/v1/leases", json={"worker": worker})
    client.post(f"/api/v1/workers/{worker}/drain")
    client.get("/api/v1/studies/none")
    assert [level for level, _ in lines()] == ["INFO", "DEBUG", "DEBUG", "INFO", "INFO"]
    *_, lease, drain, refused = (line for _, line in lines())
    assert f"worker={worker} method=POST route=/leases status=204 ms=" in lease
    assert f"worker={worker} method=POST route=/workers/{{worker_id}}/drain status=200" in drain
    assert "study=none error=StudyNotFound method=GET route=/studies/{ref} status=404" in refused


def test_a_query_or_an_unknown_path_is_never_written_down(client: TestClient, lines: Lines) -> None:
    client.get("/api/v1/studies?state=srt_secret")
    client.get("/srt_secret")
    assert not any("srt_secret" in line for _, line in lines())


def test_a_lost_lease_is_counted_and_named(client: TestClient, lines: Lines) -> None:
    answer = client.post(
        "/api/v1/leases/none/heartbeat", json={"token": 1, "step": 0, "steps_per_second": 0.0}
    )
    assert answer.json()["error"] == "LeaseLost"
    assert figure(client, "srtune_leases_lost_total") == 1
    assert figure(client, 'srtune_rejected_total{status="409"}') == 1
    level, line = lines()[0]
    assert level == "INFO"
    assert "lease=none error=LeaseLost method=POST" in line


def test_leases_batches_and_statements_are_counted(client: TestClient) -> None:
    worker = register(client)
    before = figure(client, 'srtune_statements_total{work="ledger"}')
    for _ in range(3):
        client.post("/api/v1/leases", json={"worker": worker})
    assert figure(client, "srtune_lease_seconds_count") == 3
    assert figure(client, "srtune_batch_operations_sum") == 3
    assert figure(client, 'srtune_statements_total{work="ledger"}') > before
    client.get("/api/v1/workers")
    assert figure(client, 'srtune_statements_total{work="/workers"}') > 0


def test_labels_do_not_grow_with_what_is_asked(client: TestClient) -> None:
    for number in range(20):
        client.request(f"M{number}", f"/path{number}")
        client.get(f"/api/v1/studies/s{number}")
        client.post(f"/api/v1/leases/l{number}/heartbeat", json={"token": number})
    text = client.get("/metrics").text
    series = re.findall(r"^srtune_request_seconds_count\{(.*)\}", text, re.MULTILINE)
    assert len(series) <= 4
    assert "M1" not in text
    assert "s19" not in text
    assert "path19" not in text


def test_figures_need_a_token_where_there_are_tokens_and_health_never(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    settings = Settings(data=tmp_path, mlflow=False, token="secret")
    app = create_app(settings, vocabulary, background=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/metrics").status_code == 401
        allowed = client.get("/metrics", headers={"authorization": "Bearer secret"})
        assert allowed.status_code == 200
        assert allowed.headers["content-type"].startswith("text/plain")
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200


def test_readiness_ends_before_the_service_does(app: FastAPI, client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200
    app.state.ending.set()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert client.get("/healthz").status_code == 200
    assert client.get("/api/v1/workers").status_code == 200
