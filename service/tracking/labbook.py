"""What we write into MLflow, call by call; each may be repeated without a second trace of it.

Experiments and runs are found again by our own ids in their tags, because MLflow chooses its ids
itself and a lost answer must not leave two of anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import httpx2

from service.contract.errors import Unavailable
from service.tracking.unix import UnixTransport

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Point = tuple[str, float, int, int]  # key, value, step, milliseconds since 1970

_API = "/api/2.0/mlflow"


class Refused(Unavailable):
    """MLflow answers, and does not accept this; sending it again would not help."""


class PageMissing(Refused):
    """MLflow has no such experiment or run: its store was emptied or somebody deleted it."""


class LabBook:
    """A client of MLflow's REST interface, for one thread.

    Raises Unavailable when MLflow is away, Refused when it objects.
    """

    def __init__(
        self, transport: httpx2.BaseTransport | None = None, base_url: str = "http://localhost"
    ) -> None:
        self._http = httpx2.Client(transport=transport, base_url=base_url.rstrip("/"), timeout=60.0)

    @classmethod
    def at_socket(cls, socket: str) -> LabBook:
        """MLflow on a unix socket."""
        return cls(UnixTransport(socket))

    def close(self) -> None:
        self._http.close()

    def ensure_experiment(
        self, study_id: str, name: str, description: str, tags: Mapping[str, str]
    ) -> str:
        """The id of the study's experiment, which is made unless it exists."""
        where = {"filter": f"tags.`srt.study_id` = '{study_id}'", "view_type": "ALL"}
        found = self._post("experiments/search", where | {"max_results": 1}).get("experiments", [])
        if found:
            known = str(found[0]["experiment_id"])
            if found[0].get("lifecycle_stage") == "deleted":
                self._post("experiments/restore", {"experiment_id": known})
            return known
        given = dict(tags) | {"srt.study_id": study_id, "mlflow.note.content": description}
        answer = self._post("experiments/create", {"name": name, "tags": _pairs(given)})
        return _text(answer, "experiment_id")

    def experiment_tags(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._post(
                "experiments/set-experiment-tag",
                {"experiment_id": experiment_id, "key": key, "value": value},
            )

    def ensure_run(
        self, experiment_id: str, uid: str, name: str, tags: Mapping[str, str], start_ms: int
    ) -> str:
        """The id of the run tagged `srt.trial_uid=uid`, made unless it exists; never two."""
        if (found := self._runs(experiment_id, uid)) is not None:
            return found
        body = {"experiment_id": experiment_id, "run_name": name, "start_time": start_ms}
        given = dict(tags) | {"srt.trial_uid": uid}
        self._post("runs/create", body | {"tags": _pairs(given)})
        # Asked again rather than read from the answer: another server may have made one, too.
        found = self._runs(experiment_id, uid)
        if found is None:
            raise Unavailable("MLflow does not show the run it has just made; try again")
        return found

    def _runs(self, experiment_id: str, uid: str) -> str | None:
        answer = self._post(
            "runs/search",
            {
                "experiment_ids": [experiment_id],
                "filter": f"tags.`srt.trial_uid` = '{uid}'",
                "max_results": 100,
            },
        )
        ids = sorted(str(run["info"]["run_id"]) for run in answer.get("runs", []))
        for surplus in ids[1:]:
            self._post("runs/delete", {"run_id": surplus})
        return ids[0] if ids else None

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        points: Sequence[Point] = (),
    ) -> None:
        """Log values that never change, tags, and points; what is there already stays single.

        Another value for a known parameter is Refused.
        """
        fields = ("key", "value", "step", "timestamp")
        metrics = [dict(zip(fields, point, strict=True)) for point in points]
        body = {"run_id": run_id, "params": _pairs(params or {}), "tags": _pairs(tags or {})}
        self._post("runs/log-batch", body | {"metrics": metrics})

    def update(self, run_id: str, *, name: str, status: RunStatus, end_ms: int | None) -> None:
        """Set what the run is called and how it stands; RUNNING opens a closed one again."""
        body: dict[str, Any] = {"run_id": run_id, "run_name": name, "status": status}
        self._post("runs/update", body if end_ms is None else body | {"end_time": end_ms})

    def artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Store a small file of the run, in place of an older one of this path."""
        answer = self._get("runs/get", run_id=run_id)
        root = _text(answer, "run", "info", "artifact_uri")
        if not root.startswith("mlflow-artifacts:/"):
            raise Refused(f"MLflow keeps artifacts at {root} itself and takes none over HTTP")
        inside = root.removeprefix("mlflow-artifacts:").strip("/")
        target = f"/api/2.0/mlflow-artifacts/artifacts/{inside}/{quote(path)}"
        self._send("PUT", target, content=content)

    def delete_default_experiment(self) -> None:
        """Remove MLflow's empty `Default`, so that the list shows studies only."""
        try:
            answer = self._get("experiments/get", experiment_id="0")
            runs = self._post("runs/search", {"experiment_ids": ["0"], "max_results": 1})
            empty = not runs.get("runs")
            if empty and _text(answer, "experiment", "lifecycle_stage") == "active":
                self._post("experiments/delete", {"experiment_id": "0"})
        except PageMissing:
            return

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._send("GET", f"{_API}/{path}", params=query)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._send("POST", f"{_API}/{path}", json=body)

    def _send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            raise Unavailable(f"MLflow does not answer: {error}") from error
        if not answer.is_success:
            raise _objection(path, answer)
        try:
            body = answer.json() if answer.content else {}
        except ValueError as error:
            raise Unavailable(f"what answers to {path} is not MLflow") from error
        return body if isinstance(body, dict) else {}


def _objection(path: str, answer: httpx2.Response) -> Unavailable:
    text = answer.text[:500]
    sentence = f"MLflow answers {answer.status_code} to {path}: {text}"
    # A starved connection pool shows as 400; it is no objection to what was sent.
    if answer.status_code in (408, 429) or answer.status_code >= 500 or "QueuePool" in text:
        return Unavailable(sentence)
    gone = "RESOURCE_DOES_NOT_EXIST" in text or "must be in the 'active' state" in text
    return PageMissing(sentence) if gone else Refused(sentence)


def _text(answer: Any, *path: str) -> str:
    for key in path:
        if not isinstance(answer, dict) or key not in answer:
            raise Unavailable(f"MLflow's answer lacks {'.'.join(path)}; is its version supported?")
        answer = answer[key]
    return str(answer)


def _pairs(mapping: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in mapping.items()]
