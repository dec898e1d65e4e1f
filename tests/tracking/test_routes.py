"""What of MLflow can be reached."""

from __future__ import annotations

import pytest

from service.tracking.routes import Right, refusal, right_of, run_of_file, writes

API, AJAX = "api/2.0/mlflow", "ajax-api/2.0/mlflow"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "static-files/static/js/main.1234.js"),
        ("GET", "get-artifact"),
        ("POST", "graphql"),
        ("POST", f"{AJAX}/runs/search"),
        ("GET", f"{AJAX}/metrics/get-history-bulk-interval"),
        ("POST", f"{API}/runs/log-batch"),
        ("POST", f"{AJAX}/experiments/set-experiment-tag"),
        ("GET", f"{API}/runs/get"),
        ("PUT", f"{API}-artifacts/artifacts/1/abc/artifacts/images/a~b+step+1.png"),
        ("GET", f"{AJAX}-artifacts/artifacts"),
        ("GET", "ajax-api/3.0/mlflow/server-info"),
    ],
)
def test_tracking_pages_and_workers_pass(method: str, path: str) -> None:
    assert refusal(method, path) is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "ajax-api/3.0/mlflow/assistant/message", 404),
        ("POST", "ajax-api/3.0/jobs/", 404),
        ("GET", "ajax-api/3.0/mlflow/jobs/1", 404),
        ("POST", "gateway/chat/mlflow/invocations", 404),
        ("POST", f"{AJAX}/gateway-proxy", 404),
        ("POST", "v1/traces", 404),
        ("POST", f"{API}/webhooks", 404),
        ("GET", "ajax-api/3.0/mlflow/mcp-servers", 404),
        ("GET", f"{API}-artifacts/presigned/1/x", 404),
        ("POST", f"{API}/artifacts/presigned-upload-url", 404),
        ("GET", "static-files/../../etc/passwd", 404),
        ("PUT", f"{API}-artifacts/artifacts/1/../../x", 404),
        ("PUT", f"{API}/runs/log-batch", 404),
        ("DELETE", f"{API}-artifacts/artifacts/1/x", 403),
        ("DELETE", f"{API}/registered-models/delete", 403),
        ("DELETE", f"{API}/logged-models/m-1", 403),
        ("POST", f"{API}/runs/create-promptlab-run", 404),
        ("POST", f"{API}/runs/of-a-later-version", 404),
        ("POST", f"{API}-artifacts/mpu/create/1/x", 404),
        ("POST", f"{AJAX}/upload-artifact", 404),
        ("POST", "ajax-api/3.0/mlflow/traces", 404),
        ("GET", "static-files/..;/x", 404),
        ("GET", "static-files//etc/passwd", 404),
        ("GET", "static-files/%252e%252e/x", 404),
        ("GET", "static-files/a\x00b", 404),
        ("OPTIONS", f"{API}/runs/search", 405),
        ("TRACE", "", 405),
    ],
)
def test_everything_else_is_refused(method: str, path: str, status: int) -> None:
    refused = refusal(method, path)
    assert refused is not None
    assert refused[0] == status


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("POST", "runs/search", Right.READ),
        ("GET", "runs/get", Right.READ),
        ("POST", "runs/log-batch", Right.LOG),
        ("POST", "runs/set-tag", Right.LOG),
        ("POST", "runs/update", Right.CHANGE),
        ("POST", "runs/create", Right.CHANGE),
        ("POST", "runs/delete", Right.CHANGE),
        ("POST", "experiments/create", Right.CHANGE),
        ("POST", "experiments/restore", Right.CHANGE),
        ("POST", "model-versions/create", Right.CHANGE),
        ("PATCH", "registered-models/update", Right.CHANGE),
        ("PATCH", "logged-models/m-1/tags", Right.CHANGE),
    ],
)
def test_reading_logging_and_changing_are_told_apart(method: str, path: str, right: Right) -> None:
    assert right_of(method, f"{API}/{path}") is right
    assert writes(method, f"{API}/{path}") == (right is not Right.READ)


def test_a_file_of_a_run_names_its_experiment_and_run() -> None:
    run = "0123456789abcdef" * 2
    files = f"{API}-artifacts/artifacts"
    assert run_of_file(f"{files}/7/{run}/artifacts/a/b.png") == ("7", run)
    assert run_of_file(f"{files}/7/{run}/x") is None
    assert run_of_file(f"{files}/7/models/{run}/artifacts/x") is None
    assert run_of_file(f"{files}/7/{run}/artifacts/") is None
