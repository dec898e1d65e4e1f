"""Every operation of the document, with what it takes to be allowed and a body that it accepts.

A new route fails the tests until it is written down here.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from service.contract.access import Scope
from tests.interface.site import STEPS, Scene

Operation = tuple[str, str]
_STUDY, _LEASE = "/studies/{ref}", "/leases/{lease_id}"

_BY_SCOPE: dict[Scope | None, list[str]] = {
    None: ["GET /healthz", "GET /readyz"],
    Scope.READ: [
        "GET /metrics",
        *(f"GET /api/v1/{name}" for name in ("losses", "models", "metrics-catalog", "recipes")),
        *(f"GET /api/v1/{name}" for name in ("vocabulary", "schema/study", "studies", "workers")),
        *(f"GET /api/v1{_STUDY}{part}" for part in ("", "/trials", "/trials/{number}", "/events")),
        *(f"GET /api/v1{_STUDY}/{part}" for part in ("front", "best", "importance", "transfer")),
        "POST /api/v1/studies/validate",
        "GET /api/v1/trials/{uid}/tracking",
        "HEAD /api/v1/blobs/{sha256}",
        "GET /api/v1/blobs/{sha256}",
    ],
    Scope.SUBMIT: [
        "POST /api/v1/studies",
        *(f"POST /api/v1{_STUDY}/{act}" for act in ("pause", "resume", "stop", "trials")),
        f"DELETE /api/v1{_STUDY}",
    ],
    Scope.WORKER: [
        "PUT /api/v1/blobs/{sha256}",
        "POST /api/v1/workers",
        "POST /api/v1/leases",
        *(
            f"POST /api/v1{_LEASE}/{act}"
            for act in ("heartbeat", "reports", "result", "failure", "release")
        ),
    ],
    Scope.ADMIN: [
        "POST /api/v1/workers/{worker_id}/drain",
        "POST /api/v1/tokens",
        "GET /api/v1/tokens",
        "DELETE /api/v1/tokens/{ref}",
        "GET /api/v1/owners",
        *(f"{method} /api/v1/owners/{{name}}" for method in ("GET", "PUT", "DELETE")),
        "GET /api/v1/audit",
    ],
}
#: Which scope each operation needs; none for those that tell nobody anything.
SCOPES: dict[Operation, Scope | None] = {
    (line.split()[0], line.split()[1]): scope
    for scope, lines in _BY_SCOPE.items()
    for line in lines
}
#: Operations that change what belongs to somebody: a study, or a worker and what it holds.
OF_OWNER = [
    operation
    for operation, scope in SCOPES.items()
    if scope is Scope.SUBMIT and "{ref}" in operation[1]
]
OF_WORKER = [
    operation
    for operation, scope in SCOPES.items()
    if scope is Scope.WORKER and "blobs" not in operation[1]
]


def documented(app: FastAPI) -> set[Operation]:
    """What the OpenAPI document says there is."""
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {(method.upper(), path) for path, each in paths.items() for method in each}


def body(operation: Operation, scene: Scene, definition: dict[str, Any]) -> dict[str, Any]:
    """Options of a request that is right in everything but, perhaps, who sends it."""
    if operation == ("PUT", "/api/v1/blobs/{sha256}"):
        return {"content": b"weights"}
    told = {"token": scene.fence, "step": STEPS}
    metrics = {"psnr_y": 31.0, "mdsi": 0.2}
    bodies: dict[str, Any] = {
        "POST /api/v1/studies": definition,
        "POST /api/v1/studies/validate": definition,
        f"POST /api/v1{_STUDY}/trials": {"shares": {"l1": 0.5, "content": 0.3, "edge": 0.2}},
        "POST /api/v1/workers": {"name": f"gpu-{scene.study}", "devices": []},
        "POST /api/v1/leases": {"worker": scene.worker},
        f"POST /api/v1{_LEASE}/heartbeat": told,
        f"POST /api/v1{_LEASE}/reports": told | {"step": 25, "metrics": metrics},
        f"POST /api/v1{_LEASE}/result": told | {"metrics": metrics},
        f"POST /api/v1{_LEASE}/failure": told | {"cause": "error", "message": "it broke"},
        f"POST /api/v1{_LEASE}/release": {"token": scene.fence},
        "POST /api/v1/tokens": {"name": "new", "scopes": ["read"]},
        "PUT /api/v1/owners/{name}": {"max_running": 7},
    }
    given = bodies.get(" ".join(operation))
    return {} if given is None else {"json": given}
