"""MLflow's REST interface as an uploader needs it: a batch, a file, and what went wrong.

Plain HTTP from the standard library: importing MLflow's own client costs 1.5 s and 160 MB, and it
holds its caller for minutes when the server is away.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

_TIMEOUT = 60.0
_FORBIDDEN = 403
_TRANSIENT = frozenset({401, 403, 408, 425, 429})


class MlflowAway(Exception):
    """No answer, or one that says `later`; the same request may succeed."""


class MlflowRefused(Exception):
    """MLflow objects to what was sent; sending it again would not help."""


class RunMissing(Exception):
    """MLflow has no such run, or it was deleted, or it is another worker's by now."""


class Transport:
    """Requests to the MLflow at `uri`, with a bearer token where one is needed."""

    def __init__(self, uri: str, token: str | None) -> None:
        self._uri = uri.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def log_batch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """Log metrics and tags of one run; what MLflow has already stays single."""
        self._post("mlflow/runs/log-batch", {"run_id": run_id} | dict(body))

    def artifact_root(self, run_id: str) -> str:
        """Where the run's files go: a path for `put`."""
        answer = self._send("GET", f"mlflow/runs/get?run_id={quote(run_id)}")
        uri = str(answer.get("run", {}).get("info", {}).get("artifact_uri", ""))
        if not uri.startswith("mlflow-artifacts:/"):
            raise MlflowRefused(f"MLflow keeps files at {uri or 'no place'} and takes none itself")
        return uri.removeprefix("mlflow-artifacts:").strip("/")

    def put(self, path: str, content: bytes | Path) -> None:
        """Store a file whole, in place of an older one; a Path is streamed."""
        target = f"mlflow-artifacts/artifacts/{quote(path)}"
        if isinstance(content, bytes):
            self._send("PUT", target, content)
            return
        with content.open("rb") as file:
            self._send("PUT", target, file, {"Content-Length": str(content.stat().st_size)})

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        self._send("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(
        self,
        method: str,
        path: str,
        data: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._uri}/api/2.0/{path}",
            data=data,
            method=method,
            headers={"Content-Type": "application/octet-stream"}
            | self._headers
            | dict(headers or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # nosec B310  # the service's address
                found = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                raise _meaning(error.code, error.read(2000).decode(errors="replace")) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MlflowAway(f"MLflow does not answer at {self._uri}: {error}") from error
        return found if isinstance(found, dict) else {}


def _meaning(status: int, text: str) -> Exception:
    sentence = f"MLflow answers {status}: {text[:300]}"
    if status == _FORBIDDEN and "This run is not of a trial" in text:
        return RunMissing(sentence)
    # A starved connection pool shows as 400, and a token can be set right: neither loses points.
    if status >= 500 or status in _TRANSIENT or "QueuePool" in text:
        return MlflowAway(sentence)
    if "RESOURCE_DOES_NOT_EXIST" in text or "must be in the 'active' state" in text:
        return RunMissing(sentence)
    return MlflowRefused(sentence)
