"""Which of MLflow's routes may be reached through us, and what each of them takes.

A list of what is allowed, because MLflow also serves assistants that run commands, jobs, gateways
and trace collectors, and adds more with every version.
"""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import unquote

_API = r"(ajax-)?api/2\.0/mlflow"
_API3 = r"(ajax-)?api/3\.0/mlflow"


class Right(StrEnum):
    """What a request to the lab book takes."""

    READ = "read"  #: changes nothing
    LOG = "log"  #: adds to one run: its worker's, or an admin's
    CHANGE = "change"  #: makes, renames, or hides and shows again: an admin's


def _calls(calls: str) -> str:
    return rf"{_API}/({calls})"


_PAGES = (
    r"(index\.html|favicon\.ico|health|version|static-files/.+"
    r"|get-artifact|model-versions/get-artifact)?"
)
_GETS = _calls(
    r"experiments/(get|get-by-name|search)|runs/get|artifacts/list"
    r"|metrics/(get-history|get-history-bulk|get-history-bulk-interval)"
    r"|registered-models/(get|search|get-latest-versions|alias)"
    r"|model-versions/(get|search|get-download-uri)"
    r"|logged-models/[^/]+(/artifacts/(directories|files))?"
)
_SEARCHES = _calls(
    r"experiments/(search|search-datasets)|runs/search|logged-models/search"
    r"|registered-models/get-latest-versions"
)
_FILES = rf"{_API}-artifacts/artifacts"
_NEWER = rf"{_API3}/(datasets/search|traces/search|traces/metrics)"
_LOGS = _calls(r"runs/(log-batch|log-metric|log-parameter|set-tag|log-inputs)")
_CHANGES = _calls(
    r"experiments/(create|update|set-experiment-tag|delete-experiment-tag|delete|restore)"
    r"|runs/(create|update|log-model|outputs|delete-tag|delete|restore)"
    r"|registered-models/(create|rename|set-tag|alias)"
    r"|model-versions/(create|set-tag|transition-stage)"
    r"|logged-models(/[^/]+/params)?"
)
_PATCHES = _calls(
    r"(registered-models|model-versions)/update|logged-models/[^/]+(/tags)?",
)

_ROUTES = [
    (method, re.compile(path), right)
    for methods, path, right in (
        ("GET HEAD", rf"{_PAGES}|graphql|{_GETS}|{_SEARCHES}|{_FILES}(/.+)?", Right.READ),
        ("GET HEAD", rf"{_API3}/(server-info|datasets/search)", Right.READ),
        ("POST", rf"graphql|{_SEARCHES}|{_NEWER}", Right.READ),
        ("POST", _LOGS, Right.LOG),
        ("PUT", rf"{_FILES}/.+", Right.LOG),
        ("POST", _CHANGES, Right.CHANGE),
        ("PATCH", _PATCHES, Right.CHANGE),
    )
    for method in methods.split()
]
_METHODS = frozenset(method for method, _, _ in _ROUTES)

#: What MLflow's page asks for and we keep from it, with the answer of a server that has none of
#: it. A refusal would greet every visitor with an error.
EMPTY: dict[str, object] = {
    "ajax-api/2.0/mlflow/gateway-proxy": {"endpoints": []},
    "ajax-api/3.0/mlflow/ui-telemetry": {"disable_ui_telemetry": True},
}
#: Methods that change nothing, which any page may send.
SAFE = frozenset({"GET", "HEAD"})

#: A run's own file: experiment, run, path.
_RUN_FILE = re.compile(rf"{_FILES}/(?P<experiment>[^/]+)/(?P<run>[0-9a-f]{{32}})/artifacts/[^/].*")


def right_of(method: str, path: str) -> Right | None:
    """What this request takes; None if nobody may send it."""
    for known, pattern, right in _ROUTES:
        if known == method and pattern.fullmatch(path):
            return right
    return None


def writes(method: str, path: str) -> bool:
    """Whether this request may change the lab book, so that a token must allow more than reading."""
    return right_of(method, path) is not Right.READ


def refusal(method: str, path: str) -> tuple[int, str] | None:
    """Why this request goes no further, as HTTP status and sentence; None if it may pass.

    `path` is decoded and relative to MLflow's root, without a leading slash.
    """
    if method == "DELETE" or re.search(r"/gc\b", path):
        return 403, "Nothing is deleted for good here; delete the study instead."
    if method not in _METHODS:
        return 405, f"MLflow is not reached with {method} here."
    if evasive(path) or right_of(method, path) is None:
        return 404, "This page of MLflow is not available here."
    return None


def evasive(path: str) -> bool:
    """Whether this names another place than it seems to, however often somebody decodes it."""
    while True:
        parts = re.split(r"[/\\]", path)
        if any(part.split(";")[0] in (".", "..") for part in parts) or "" in parts[:-1]:
            return True
        if re.search(r"[\x00-\x1f\x7f\\]", path):
            return True
        if (decoded := unquote(path)) == path:
            return False
        path = decoded


def run_of_file(path: str) -> tuple[str, str] | None:
    """Experiment and run whose file a path names; None if it is no run's file."""
    found = _RUN_FILE.fullmatch(path)
    return None if found is None else (found["experiment"], found["run"])
