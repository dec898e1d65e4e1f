"""What MLflow must not be talked into, tried on a real one through our port, as an admin."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from service.tracking.labbook import LabBook
from service.tracking.server import MlflowServer

API = "/mlflow/api/2.0/mlflow"
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts"
AJAX3 = "/mlflow/ajax-api/3.0/mlflow"
pytestmark = pytest.mark.usefixtures("mlflow")


@pytest.fixture
def web(port: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=port, timeout=30) as client:
        yield client


def raw(port: str, method: str, target: str, **headers: str) -> tuple[int, bytes]:
    """A request whose path no library has tidied up."""
    connection = http.client.HTTPConnection(urlsplit(port).netloc, timeout=30)
    connection.putrequest(method, target, skip_host=bool(headers.get("Host")))
    body = None if method == "GET" else b"x"
    for name, value in (headers | ({"Content-Length": "1"} if body else {})).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


_UP = [
    "..",
    "%2e%2e",
    ".%2e",
    "%252e%252e",
    "%25252e%25252e",
    "..;",
    "%2e%2e%2f..",
    "..%5c..",
    "%5c..%5c",
]


@pytest.mark.parametrize("up", _UP)
def test_no_spelling_of_a_path_leaves_the_artifacts(port: str, up: str) -> None:
    hops = "/".join([up] * 12)
    for root in (FILES, f"{FILES}/1", "/mlflow/static-files", "/mlflow"):
        for method in ("GET", "PUT"):
            status, body = raw(port, method, f"{root}/{hops}/etc/passwd")
            assert status in (400, 403, 404, 405), (method, root)
            assert b"root:" not in body
    for target in (
        f"/mlflow/get-artifact?run_uuid=x&path={hops}/etc/passwd",
        f"/mlflow/model-versions/get-artifact?name=x&version=1&path={hops}/etc/passwd",
        f"{FILES}?path={hops}/etc",
        f"{API}/artifacts/list?run_id=x&path={hops}/etc",
    ):
        status, body = raw(port, "GET", target)
        assert status in (400, 403, 404), target
        assert b"root:" not in body


@pytest.mark.parametrize("path", ["//etc/passwd", "/%2fetc%2fpasswd", "///", "/a%00b", "/a%0d%0ab"])
def test_absolute_and_broken_paths_are_refused(port: str, path: str) -> None:
    for method in ("GET", "PUT"):
        status, body = raw(port, method, f"{FILES}{path}")
        assert status in (400, 403, 404)
        assert b"root:" not in body


@pytest.mark.parametrize("name", ["artifact_location", "artifactLocation", "ARTIFACT_LOCATION"])
@pytest.mark.parametrize(
    "place", ["/etc", "s3://bucket/x", "file:///etc#", "mlflow-artifacts:/../"]
)
def test_no_experiment_chooses_where_it_lies(
    web: httpx2.Client, name: str, place: str, request: pytest.FixtureRequest
) -> None:
    made = web.post(f"{API}/experiments/create", json={"name": request.node.name, name: place})
    found = web.get(f"{API}/experiments/get", params=made.json()).json()["experiment"]
    assert found["artifact_location"] == f"mlflow-artifacts:/{found['experiment_id']}"


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "file:/etc/passwd",
        "/etc",
        "s3://bucket/model",
        "dbfs:/x",
        "http://169.254.169.254/latest",
        "mlflow-artifacts://host:80/x",
        "mlflow-artifacts:/../../etc",
        "runs:/%2e%2e/%2e%2e/etc",
        "runs:///etc",
        "models://host/x",
        7,
    ],
)
def test_no_model_comes_from_outside_the_lab_book(web: httpx2.Client, source: object) -> None:
    web.post(f"{API}/registered-models/create", json={"name": "probe"})
    for key in ("source", "Source"):
        answer = web.post(f"{API}/model-versions/create", json={"name": "probe", key: source})
        assert answer.status_code == 403


def test_a_link_of_a_model_version_is_dropped(web: httpx2.Client, book: LabBook) -> None:
    experiment = book.ensure_experiment("links", "links", "", {})
    run = book.ensure_run(experiment, "links-1", "r", {}, 0)
    web.post(f"{API}/registered-models/create", json={"name": "linked"})
    body = {"name": "linked", "source": f"runs:/{run}/model", "run_id": run}
    for key in ("run_link", "runLink"):
        link = {key: "javascript:alert(1)"}
        made = web.post(f"{API}/model-versions/create", json=body | link)
        assert made.status_code == 200
        assert "javascript" not in made.text


@pytest.mark.parametrize(
    "path",
    [
        f"{AJAX3}/assistant/message",
        f"{AJAX3}/assistant/sessions/1",
        f"{AJAX3}/jobs/1",
        f"{AJAX3}/jobs/cancel/1",
        f"{AJAX3}/gateway/secrets/config",
        f"{AJAX3}/gateway/provider-config",
        f"{AJAX3}/scorer/invoke",
        f"{AJAX3}/genai/evaluate/invoke",
        f"{AJAX3}/issues/invoke",
        f"{AJAX3}/demo/generate",
        f"{AJAX3}/mcp",
        "/mlflow/ajax-api/3.0/jobs/",
        "/mlflow/api/3.0/jobs/search",
        "/mlflow/mcp/",
        "/mlflow/gateway/chat/mlflow/invocations",
        "/mlflow/v1/traces",
        "/mlflow/v1/metrics",
        "/mlflow/ajax-api/2.0/mlflow/upload-artifact",
        "/mlflow/ajax-api/2.0/mlflow/get-trace-artifact",
        "/mlflow/ajax-api/2.0/mlflow/runs/create-promptlab-run",
        "/mlflow/ajax-api/2.0/mlflow/webhooks",
        "/mlflow/api/2.0/mlflow-artifacts/mpu/create/1/x",
        "/mlflow/api/2.0/mlflow-artifacts/presigned/1/x",
        "/mlflow/api/2.0/mlflow/artifacts/presigned-upload-url",
        "/mlflow/api/2.0/mlflow/artifacts/presigned-download-url",
        "/mlflow/docs",
        "/mlflow/openapi.json",
        "/mlflow/build/x",
    ],
)
def test_what_runs_things_or_hands_out_keys_is_not_there(web: httpx2.Client, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH"):
        forged = {"x-forwarded-for": "127.0.0.1", "x-http-method-override": "POST"}
        answer = web.request(method, path, json={}, headers=forged)
        assert answer.status_code in (403, 404), method


def test_a_page_asked_for_with_a_body_is_answered(web: httpx2.Client) -> None:
    assert web.request("GET", "/mlflow/version", content=b"x").status_code == 200


def test_empty_gateway_takes_no_calls(web: httpx2.Client) -> None:
    path = "/mlflow/ajax-api/2.0/mlflow/gateway-proxy"
    assert web.post(path, json={"gateway_path": "api/2.0/endpoints"}).status_code == 404
    assert web.get(path, params={"gateway_path": "../../x"}).json() == {"endpoints": []}


def test_forged_origins_of_a_request_do_not_reach_mlflow(port: str, web: httpx2.Client) -> None:
    forged = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "ftp",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=127.0.0.1;host=evil.example",
        "X-MLFLOW-WORKSPACE": "other",
    }
    status, body = raw(port, "GET", "/mlflow/version", **forged)
    assert (status, b"evil" in body) == (200, False)
    answer = web.get("/mlflow/", headers=forged)
    assert "evil" not in answer.text + str(answer.headers)


def test_bodies_are_json_of_bounded_size(web: httpx2.Client) -> None:
    url = f"{API}/runs/search"
    kind = {"content-type": "application/json"}
    assert web.post(url, content=b"{}").status_code == 415
    assert web.post(url, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    packed = kind | {"content-encoding": "gzip"}
    assert web.post(url, content=b"{}", headers=packed).status_code == 415
    for broken in (b"[]", b"{", b"\xff", b"[" * 100_000):
        assert web.post(url, content=broken, headers=kind).status_code == 400
    large = json.dumps({"filter": "x" * (1 << 20)}).encode()
    assert web.post(url, content=large, headers=kind).status_code == 413
    pieces = (b" " * 65536 for _ in range(40))
    assert web.post(url, content=pieces, headers=kind).status_code == 413


def test_mlflow_loads_no_pickles(mlflow: MlflowServer) -> None:
    environment = Path(f"/proc/{mlflow.pid}/environ").read_bytes().split(b"\0")
    assert b"MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false" in environment
    assert b"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false" in environment
