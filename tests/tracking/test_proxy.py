"""MLflow behind our own port."""

from __future__ import annotations

import gzip
import resource
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import Depends, FastAPI, HTTPException
from starlette.testclient import TestClient

from service.tracking.labbook import LabBook
from service.tracking.proxy import router, unix_transport
from service.tracking.server import MlflowServer

API = "/mlflow/api/2.0/mlflow"
pytestmark = pytest.mark.usefixtures("mlflow")


@pytest.fixture
def web(port: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=port, timeout=30) as client:
        yield client


def test_the_page_opens_on_classic_runs(web: httpx2.Client) -> None:
    page = web.get("/mlflow", follow_redirects=True)
    assert page.status_code == 200
    assert "mlflow.workflowType_v1" in page.text
    assert page.text.index("workflowType") < page.text.index("static-files")


def test_scripts_arrive_compressed_and_whole(web: httpx2.Client, port: str) -> None:
    page = web.get("/mlflow/").text
    script = page.split('src="')[1].split('"')[0]
    plain = web.get(f"/mlflow/{script}", headers={"accept-encoding": "identity"})
    with web.stream("GET", f"/mlflow/{script}", headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert len(raw) < len(plain.content) / 2
    assert gzip.decompress(raw) == plain.content
    assert "immutable" in plain.headers["cache-control"]


def test_a_name_other_than_localhost_works(web: httpx2.Client) -> None:
    headers = {"host": "tuner.example.com", "origin": "https://tuner.example.com"}
    answer = web.post(f"{API}/experiments/search", json={"max_results": 1}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_sites_cannot_write(web: httpx2.Client, origin: str) -> None:
    answer = web.post(f"{API}/experiments/search", json={}, headers={"origin": origin})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["v1/traces", "ajax-api/3.0/jobs/", "static-files/%2e%2e/x"])
def test_other_parts_of_mlflow_cannot_be_reached(web: httpx2.Client, path: str) -> None:
    assert web.get(f"/mlflow/{path}").status_code == 404


def test_an_experiment_cannot_choose_its_folder(web: httpx2.Client, book: LabBook) -> None:
    body = {"name": "elsewhere", "artifact_location": "/etc"}
    made = web.post(f"{API}/experiments/create", json=body)
    found = web.get(f"{API}/experiments/get", params=made.json())
    assert found.json()["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")


def test_large_files_stream_both_ways(web: httpx2.Client, book: LabBook) -> None:
    block, blocks = bytes(range(256)) * 4096, 50
    path = "/mlflow/api/2.0/mlflow-artifacts/artifacts/large/file.bin"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = web.put(path, content=(block for _ in range(blocks)))
    assert sent.status_code == 200
    with web.stream("GET", path) as answer:
        size = sum(len(chunk) for chunk in answer.iter_raw())
    assert size == blocks * len(block)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 25


def test_says_when_to_come_back_while_mlflow_starts(tmp_path: Path) -> None:
    app = FastAPI()
    app.include_router(router(unix_transport(str(tmp_path / "nobody.sock"))))
    with TestClient(app) as client:
        answer = client.get("/mlflow/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"


def test_what_guards_the_service_guards_mlflow(mlflow: MlflowServer) -> None:
    def closed() -> None:
        raise HTTPException(401)

    app = FastAPI()
    app.include_router(router(unix_transport(str(mlflow.socket))), dependencies=[Depends(closed)])
    with TestClient(app) as client:
        assert client.get("/mlflow/").status_code == 401
        assert client.get("/mlflow", follow_redirects=False).status_code == 401
