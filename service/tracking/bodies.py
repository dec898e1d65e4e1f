"""What a request may say to MLflow: bodies are read here and written anew, field by field.

MLflow then reads what was judged: one spelling of each field, no second value of a key, no place
on its disk or on the network that a caller chose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from service.tracking.routes import evasive

#: Bytes of a body; MLflow's own limit of a batch.
LARGEST = 1 << 20

#: Where MLflow would read or write, or what its page would link to, if a caller could say so.
_PLACES = frozenset({"artifactlocation", "artifacturi", "runlink"})
_OWN_PLACE = re.compile(r"(runs|models|mlflow-artifacts):/[^/].*")

#: What a worker may say about its run. Left out: other runs', models' and datasets' ids.
_POINT = ("key", "value", "timestamp", "step")
_PAIR = ("key", "value")
_WORKERS: dict[str, tuple[str, ...]] = {
    "log-batch": ("metrics", "tags", "params"),
    "log-metric": _POINT,
    "set-tag": _PAIR,
    "log-inputs": ("datasets",),
}
#: The one of MLflow's own tags that uploads need: it switches the pictures' grid on.
_WORKERS_TAG = "mlflow.loggedImages"


class Objection(Exception):
    """A request that MLflow does not get to see: HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def parsed(content: bytes) -> dict[str, Any]:
    """The object that a body holds, without any place of the caller's choice; raises Objection."""
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise Objection(400, "The body is not JSON that can be read.") from error
    if not isinstance(found, dict):
        raise Objection(400, "The body is no JSON object.")
    body: dict[str, Any] = _without_places(found)
    return body


def checked_source(body: Mapping[str, Any]) -> None:
    """Raise Objection unless a model version comes out of the lab book itself."""
    for key, source in body.items():
        if _plain(key) != "source":
            continue
        own = isinstance(source, str) and _OWN_PLACE.fullmatch(source)
        if not own or evasive(source.partition(":/")[2]):
            raise Objection(
                403, "A model version's source is a run's or a model's here: runs:/ or models:/."
            )


def run_of(body: Mapping[str, Any]) -> str | None:
    """The one run a body names; None if it names none, or two."""
    named = [value for key, value in body.items() if _plain(key) in ("runid", "runuuid")]
    runs = {value for value in named if isinstance(value, str) and value}
    return runs.pop() if len(runs) == 1 and all(value in ("", *runs) for value in named) else None


def by_worker(call: str, run_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker's body says to `call` about its run, and nothing else; raises Objection.

    Tags and parameters that the service writes are the service's: by them it finds its runs again.
    """
    if call not in _WORKERS:
        raise Objection(403, f"A worker's token does not allow runs/{call}.")
    said = {key: body[key] for key in _WORKERS[call] if key in body}
    if said.get("params"):
        raise Objection(403, "Parameters of a run are written by the service, not by a worker.")
    if "metrics" in said:
        said["metrics"] = _listed(said["metrics"], _POINT)
    if "tags" in said:
        said["tags"] = _listed(said["tags"], _PAIR)
    for tag in [said] if call == "set-tag" else said.get("tags", []):
        name = str(tag.get("key", ""))
        if name.startswith(("srt.", "mlflow.")) and name != _WORKERS_TAG:
            raise Objection(403, f"The tag {name} is written by the service, not by a worker.")
    return {"run_id": run_id} | said


def _listed(items: Any, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Objection(400, "metrics and tags are lists of objects.")
    return [{key: item[key] for key in fields if key in item} for item in items]


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_places(v) for k, v in value.items() if _plain(k) not in _PLACES}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return value


def _plain(key: str) -> str:
    """MLflow takes `artifact_location` and `artifactLocation` for the same."""
    return re.sub(r"[^a-z]", "", key.lower())
