"""What goes over the wire: problem documents, scopes, health, the schema."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from service.contract.errors import BY_NAME, InvalidRequest
from service.tokens import Scope, create_token

JSON = {"content-type": "application/json"}
Server = Any
Serve = Callable[..., Server]
pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def _problem(answer: Any, status: int, error: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "error", "problems"}
    assert (body["status"], body["error"]) == (status, error)
    assert error in BY_NAME
    return body


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "error"),
    [
        ("GET", "/api/v1/studies/none", {}, 404, "StudyNotFound"),
        ("GET", "/api/v1/nothing", {}, 404, "NotFound"),
        ("PUT", "/api/v1/studies", {}, 405, "SrtuneError"),
        ("GET", "/api/v1/studies?state=asleep", {}, 422, "InvalidRequest"),
        ("GET", "/api/v1/studies?limit=0", {}, 422, "InvalidRequest"),
        ("POST", "/api/v1/leases", {"json": {"worker": 3}}, 422, "InvalidRequest"),
        ("POST", "/api/v1/leases", {"json": {"worker": "w"}}, 404, "WorkerNotFound"),
        (
            "POST",
            "/api/v1/studies",
            {"content": b"{not json", "headers": JSON},
            422,
            "InvalidRequest",
        ),
        ("POST", "/api/v1/studies", {"json": ["not", "a mapping"]}, 422, "InvalidStudy"),
        ("GET", f"/api/v1/blobs/{'0' * 64}", {}, 404, "BlobNotFound"),
        ("GET", "/api/v1/blobs/../../etc/passwd", {}, 404, "NotFound"),
        ("GET", "/api/v1/blobs/ABC", {}, 422, "InvalidRequest"),
        ("PUT", f"/api/v1/blobs/{'0' * 64}", {"content": b"other"}, 422, "BlobMismatch"),
        ("GET", "/api/v1/trials/none/tracking", {}, 404, "TrialNotFound"),
    ],
)
def test_every_error_is_a_problem_document(
    serve: Serve, method: str, path: str, options: dict[str, Any], status: int, error: str
) -> None:
    body = _problem(serve().http(method, path, **options), status, error)
    assert len(body["detail"]) > 20


def test_a_wrong_body_is_told_field_by_field(serve: Serve) -> None:
    answer = serve().http(
        "POST", "/api/v1/workers", json={"name": "w", "devices": [{"kind": 3}], "slots": 0}
    )
    body = _problem(answer, 422, "InvalidRequest")
    assert {problem["path"] for problem in body["problems"]} == {
        "devices[0].kind", "devices[0].name", "slots",
    }  # fmt: skip


def test_a_bug_answers_with_one_sentence_and_no_inside(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()

    def bug() -> None:
        raise ZeroDivisionError("secret")

    server.app.add_api_route("/bug", bug)
    body = _problem(server.http("GET", "/bug"), 500, "SrtuneError")
    assert "secret" not in str(body)


def test_an_empty_queue_says_when_to_ask_again(serve: Serve) -> None:
    server = serve()
    worker = server.http("POST", "/api/v1/workers", json={"name": "w", "devices": []}).json()["id"]
    answer = server.http("POST", "/api/v1/leases", json={"worker": worker})
    assert (answer.status_code, answer.content) == (204, b"")
    pause = float(answer.headers["srtune-poll-after"])
    assert 0.5 < pause < 1.5, "with jitter, so that idle workers do not ask all at once"
    assert int(answer.headers["retry-after"]) == math.ceil(pause)


def test_an_object_over_the_limit_is_refused_and_leaves_nothing(serve: Serve) -> None:
    server = serve(max_blob=10)
    content = b"eleven byte"
    digest = hashlib.sha256(content).hexdigest()
    announced = server.http("PUT", f"/api/v1/blobs/{digest}", content=content)
    _problem(announced, 413, "TooLarge")
    streamed = server.http("PUT", f"/api/v1/blobs/{digest}", content=iter([content]))
    _problem(streamed, 413, "TooLarge")
    assert server.http("HEAD", f"/api/v1/blobs/{digest}").status_code == 404
    assert [path for path in server.settings.data.rglob("blobs/**/*") if path.is_file()] == []


def test_an_object_can_be_fetched_in_parts(serve: Serve) -> None:
    server = serve()
    digest = hashlib.sha256(b"0123456789").hexdigest()
    stored = server.http("PUT", f"/api/v1/blobs/{digest}", content=b"0123456789")
    assert (stored.status_code, stored.json()) == (201, {"sha256": digest, "size": 10})
    head = server.http("HEAD", f"/api/v1/blobs/{digest}")
    assert (head.status_code, head.headers["content-length"]) == (200, "10")
    part = server.http("GET", f"/api/v1/blobs/{digest}", headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")


def test_health_needs_no_token_and_names_what_works(serve: Serve) -> None:
    server = serve(token="secret")
    assert server.http("GET", "/healthz").json()["status"] == "alive"
    assert server.http("GET", "/readyz").json() == {
        "status": "ready", "database": "ready", "mlflow": "off",
    }  # fmt: skip


def test_prometheus_reads_trials_leases_and_seconds_by_route(
    serve: Serve, definition: dict[str, Any]
) -> None:
    server = serve()
    server.http("POST", "/api/v1/studies", json=definition)
    server.http("GET", "/api/v1/studies/small")
    text = server.http("GET", "/metrics").text
    assert 'srtune_trials{state="queued"} 1.0' in text
    assert "srtune_leases 0.0" in text
    assert re.search(
        r'srtune_request_seconds_count\{method="GET",route="/studies/\{ref\}",status="200"\} 1',
        text,
    )


def test_a_token_opens_what_its_scope_allows_and_nothing_else(
    serve: Serve, definition: dict[str, Any]
) -> None:
    server = serve(token="root")
    database = server.app.state.service.database
    with database.writing() as session:
        secrets = {scope: create_token(session, scope.value, [scope]) for scope in Scope}
    calls = {
        Scope.READ: ("GET", "/api/v1/studies", None),
        Scope.SUBMIT: ("POST", "/api/v1/studies", definition),
        Scope.WORKER: ("POST", "/api/v1/workers", {"name": "w", "devices": []}),
        Scope.ADMIN: ("POST", "/api/v1/workers/w/drain", None),
    }
    allowed = {
        Scope.READ: {Scope.READ},
        Scope.SUBMIT: {Scope.READ, Scope.SUBMIT},
        Scope.WORKER: {Scope.READ, Scope.WORKER},
        Scope.ADMIN: set(Scope),
    }
    for needed, (method, path, body) in calls.items():
        _problem(server.http(method, path, json=body), 401, "Unauthorized")
        wrong = {"authorization": "Bearer wrong"}
        _problem(server.http(method, path, json=body, headers=wrong), 401, "Unauthorized")
        for held, secret in secrets.items():
            headers = {"authorization": f"Bearer {secret}"}
            status = server.http(method, path, json=body, headers=headers).status_code
            assert (status == 403) == (needed not in allowed[held]), (needed, held)
        root = {"authorization": "Bearer root"}
        assert server.http(method, path, json=body, headers=root).status_code in (200, 201, 404)


def test_every_route_but_health_asks_for_a_token(serve: Serve) -> None:
    server = serve(token="secret")
    paths = server.http("GET", "/openapi.json").json()["paths"]
    asked = 0
    for path, methods in paths.items():
        for method in methods:
            if not path.startswith("/api/"):
                continue
            concrete = path.replace("{sha256}", "0" * 64).replace("{number}", "1")
            concrete = re.sub(r"\{\w+\}", "x", concrete)
            assert server.http(method.upper(), concrete).status_code in (401, 422), path
            asked += server.http(method.upper(), concrete).status_code == 401
    assert asked > 15


def test_the_document_describes_every_route_with_its_errors(serve: Serve) -> None:
    document = serve().http("GET", "/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert route["summary"], (method, path)
            assert route["description"], (method, path)
    lost = document["paths"]["/api/v1/leases/{lease_id}/result"]["post"]["responses"]["409"]
    assert "LeaseLost" in lost["description"]
    assert "application/problem+json" in lost["content"]


def test_the_schema_of_a_definition_names_its_fields(serve: Serve) -> None:
    schema = serve().http("GET", "/api/v1/schema/study").json()
    assert schema["title"] == "Study"
    assert schema["required"] == ["name", "data", "model", "losses"]
    assert all("description" in field or "$ref" in field for field in schema["properties"].values())


def test_a_finer_error_travels_under_the_name_the_client_knows(serve: Serve) -> None:
    server = serve()

    class FinerError(InvalidRequest):
        """Only the service knows this one."""

    def finer() -> None:
        raise FinerError("this value is not right; give another")

    server.app.add_api_route("/finer", finer)
    _problem(server.http("GET", "/finer"), 422, "InvalidRequest")


def test_the_body_of_a_submission_is_documented_field_by_field(serve: Serve) -> None:
    document = serve().http("GET", "/openapi.json").json()
    for path in ("/api/v1/studies", "/api/v1/studies/validate"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"]["$ref"] == "#/components/schemas/StudyDefinition"
    undescribed = [
        f"{part}.{field}"
        for part in ("StudyDefinition", "Data", "Term", "Search", "Training", "Warmup", "Pruning")
        for field, schema in document["components"]["schemas"][part]["properties"].items()
        if not schema.get("description") and "$ref" not in schema  # then its part describes it
    ]
    assert undescribed == []
