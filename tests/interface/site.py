"""A real service behind a real port, with one of everything that an operation can be about."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from service.api.context import Service
from service.app import create_app
from service.contract.access import Scope
from service.contract.vocabulary import Vocabulary
from service.db import Row
from service.edge.patience import patient
from service.proposer import Memories, propose
from service.settings import Settings
from service.tokens import create_token

ROOT = "root-token"
STEPS = 100


@dataclass
class Site:
    """A service that does nothing unasked, so that whatever changes was changed by a request."""

    app: FastAPI
    port: int
    vocabulary: Vocabulary
    bare: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.bare = httpx2.Client(base_url=self.url, timeout=60.0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def ask(
        self, method: str, path: str, *, token: str | None = ROOT, **options: Any
    ) -> httpx2.Response:
        """One request; one client for all, because making one costs more than asking."""
        headers = options.pop("headers", {})
        if token is not None:
            headers = {"authorization": f"Bearer {token}", **headers}
        return self.bare.request(method, path, headers=headers, **options)

    def told(self, method: str, path: str, *, token: str = ROOT, **options: Any) -> Any:
        """The JSON that a request which must succeed is answered with; none without a body."""
        answer = self.ask(method, f"/api/v1{path}", token=token, **options)
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.content else None

    def token(self, *scopes: Scope, owner: str = "ann", valid_for: float | None = None) -> str:
        with self.service.database.writing() as session:
            return create_token(session, "made", list(scopes), owner=owner, valid_for=valid_for)

    def propose(self) -> None:
        propose(self.service.database, self.vocabulary, Memories(self.vocabulary))

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, but for when tokens were used last."""
        with self.service.database.reading() as session:
            return {
                table.name: sorted(
                    map(
                        tuple,
                        session.execute(
                            select(*(c for c in table.columns if c.name != "last_used"))
                        ),
                    ),
                    key=repr,
                )
                for table in Row.metadata.sorted_tables
            }

    def blob(self, content: bytes, *, token: str = ROOT) -> dict[str, Any]:
        """A stored object, as requests refer to it."""
        digest = hashlib.sha256(content).hexdigest()
        stored: dict[str, Any] = self.told("PUT", f"/blobs/{digest}", token=token, content=content)
        return stored


@contextmanager
def running(
    database_url: str, vocabulary: Vocabulary, data: Path, **changes: Any
) -> Iterator[Site]:
    """A site on this database until the block ends; `changes` are settings."""
    options = {
        "data": data, "database": database_url, "mlflow": False, "token": ROOT,
        "rate": 0.0, "guesses": 0,
    }  # fmt: skip
    settings = Settings(**{**options, **changes})
    app = create_app(settings, vocabulary, background=False)
    config = uvicorn.Config(
        app,
        port=0,
        http=patient(settings.head_seconds),
        ws="none",
        log_level="critical",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60.0
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    site = Site(app, server.servers[0].sockets[0].getsockname()[1], vocabulary)
    try:
        yield site
    finally:
        site.bare.close()
        server.should_exit = True
        thread.join(20.0)


@dataclass(frozen=True)
class Scene:
    """One of everything: what path parameters can name, and who may speak for it."""

    study: str
    ended: str  #: a study that is stopped
    worker: str
    token_id: str
    lease: str
    fence: int  #: the lease's token
    uid: str
    number: int
    sha256: str
    size: int
    ann: str  #: secret of the study's owner, scope submit
    bob: str  #: the same scope, another owner
    gpu: str  #: secret of the worker
    other: str  #: secret of another worker

    def path(self, template: str) -> str:
        """An address of this scene from one of the document."""
        ref = self.ended if template.endswith("/events") else self.study
        named = {
            "{ref}": self.token_id if template.startswith("/api/v1/tokens") else ref,
            "{number}": str(self.number),
            "{uid}": self.uid,
            "{worker_id}": self.worker,
            "{lease_id}": self.lease,
            "{sha256}": self.sha256,
            "{name}": "ann",
        }
        for placeholder, value in named.items():
            template = template.replace(placeholder, value)
        return template


def scene(site: Site, definition: dict[str, Any]) -> Scene:
    """Submit, calibrate, train one trial through, lease the next: over HTTP, as people do."""
    ann, bob = (site.token(Scope.SUBMIT, owner=owner) for owner in ("ann", "bob"))
    gpu, other = (site.token(Scope.WORKER, owner=owner) for owner in ("gpu", "other"))
    for study in site.told("GET", "/studies", params={"state": "active"})["items"]:
        site.ask("POST", f"/api/v1/studies/{study['id']}/stop")
    ended = site.told("POST", "/studies", token=ann, json=definition | {"name": "ended"})["id"]
    site.told("POST", f"/studies/{ended}/stop", token=ann)
    study = site.told("POST", "/studies", token=ann, json=definition)["id"]
    name = f"gpu-{study}"
    registration = {"name": name, "devices": [{"kind": "cpu", "name": "cpu"}]}
    worker = site.told("POST", "/workers", token=gpu, json=registration)["id"]
    start = site.blob(b"shared start", token=gpu)
    terms = {term["loss"]: 1.0 for term in definition["losses"]}
    calibration = {"norms": terms, "values": terms, "batches": 8}
    _complete(site, gpu, worker, start=start, calibration=calibration)
    site.propose()
    weights = site.blob(b"weights", token=gpu)
    _complete(site, gpu, worker, weights_blob=weights)
    site.propose()
    lease = _lease(site, gpu, worker)
    site.told("PUT", "/owners/ann", json={"max_running": 5})
    token_id = site.told(
        "POST", "/tokens", json={"name": f"for-{study}", "scopes": ["read"], "owner": "cat"}
    )["id"]
    return Scene(
        study, ended, worker, token_id, lease["id"], lease["token"], lease["job"]["uid"],
        lease["job"]["number"], weights["sha256"], weights["size"], ann, bob, gpu, other,
    )  # fmt: skip


def _lease(site: Site, token: str, worker: str) -> dict[str, Any]:
    [lease] = site.told("POST", "/leases", token=token, json={"worker": worker})
    found: dict[str, Any] = lease
    return found


def _complete(site: Site, token: str, worker: str, **fields: Any) -> None:
    lease = _lease(site, token, worker)
    metrics = {"psnr_y": 30.0, "mdsi": 0.3}
    result = {"token": lease["token"], "step": STEPS, "metrics": metrics, **fields}
    site.told(
        "POST", f"/leases/{lease['id']}/result", token=token, json=json.loads(json.dumps(result))
    )
