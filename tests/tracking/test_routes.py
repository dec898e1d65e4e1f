"""What of MLflow can be reached."""

from __future__ import annotations

import pytest

from service.tracking.routes import refusal, writes

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
        ("POST", f"{API}/runs/delete", 403),
        ("POST", f"{API}/experiments/delete", 403),
        ("POST", f"{API}/experiments/delete-experiment-tag", 403),
        ("OPTIONS", f"{API}/runs/search", 405),
        ("TRACE", "", 405),
    ],
)
def test_everything_else_is_refused(method: str, path: str, status: int) -> None:
    refused = refusal(method, path)
    assert refused is not None
    assert refused[0] == status


@pytest.mark.parametrize("call", ["runs/log-batch", "runs/update", "experiments/create"])
def test_writing_is_told_from_reading(call: str) -> None:
    assert writes("POST", f"{API}/{call}")
    assert writes("PUT", f"{API}-artifacts/artifacts/1/x")
    assert not writes("POST", f"{API}/runs/search")
    assert not writes("POST", "graphql")
    assert not writes("GET", f"{API}/runs/get")
