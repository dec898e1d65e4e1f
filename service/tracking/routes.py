"""Which of MLflow's routes may be reached through us: those of a tracking page and a worker.

A list of what is allowed, because MLflow also serves assistants that run commands, jobs, gateways
and trace collectors, and adds more with every version.
"""

from __future__ import annotations

import re

_GROUPS = "experiments|runs|metrics|artifacts|registered-models|model-versions|logged-models"
_API = r"(ajax-)?api/2\.0/mlflow"
_API3 = r"(ajax-)?api/3\.0/mlflow"

_READ = re.compile(
    r"(index\.html|favicon\.ico|health|version|graphql"
    r"|static-files/.+|get-artifact|model-versions/get-artifact"
    rf"|{_API}/({_GROUPS})(/.*)?"
    rf"|{_API}-artifacts/artifacts(/.+)?"
    rf"|{_API3}/(server-info|datasets/search))?"
)
_POST = re.compile(
    rf"graphql|{_API}/({_GROUPS})(/.*)?|{_API3}/(datasets/search|traces/search|traces/metrics)"
)
_PUT = re.compile(rf"{_API}-artifacts/artifacts/.+")
_PATCH = re.compile(rf"{_API}/(registered-models|model-versions|logged-models)/.+")
_BY_METHOD = {"GET": _READ, "HEAD": _READ, "POST": _POST, "PUT": _PUT, "PATCH": _PATCH}
#: What MLflow's page asks for and we keep from it, with the answer of a server that has none of
#: it. A refusal would greet every visitor with an error.
EMPTY: dict[str, object] = {
    "ajax-api/2.0/mlflow/gateway-proxy": {"endpoints": []},
    "ajax-api/3.0/mlflow/ui-telemetry": {"disable_ui_telemetry": True},
}
#: MLflow would hand out credentials of its storage.
_NEVER = re.compile(r".*/presigned.*")

#: Methods that change nothing, which any page may send.
SAFE = frozenset({"GET", "HEAD"})


_READS_BY_POST = re.compile(
    r"graphql|.*/(search|search-datasets|metrics|get-latest-versions)|.*api/3\.0/.*"
)


def writes(method: str, path: str) -> bool:
    """Whether this request may change the lab book, so that a token must allow more than reading."""
    return method not in SAFE and not (method == "POST" and _READS_BY_POST.fullmatch(path))


def refusal(method: str, path: str) -> tuple[int, str] | None:
    """Why this request goes no further, as HTTP status and sentence; None if it may pass.

    `path` is decoded and relative to MLflow's root, without a leading slash.
    """
    if method == "DELETE" or re.search(r"/(delete|gc)\b", path):
        return 403, "Pages of the lab book are not deleted here; delete the study instead."
    allowed = _BY_METHOD.get(method)
    if allowed is None:
        return 405, f"MLflow is not reached with {method} here."
    if any(part in (".", "..") for part in re.split(r"[/\\]", path)) or _NEVER.fullmatch(path):
        return 404, "This page of MLflow is not available here."
    if not allowed.fullmatch(path):
        return 404, "This page of MLflow is not available here."
    return None
