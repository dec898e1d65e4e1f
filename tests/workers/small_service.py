"""A service of one study and a hundred lines: leases, beats, reports and blobs, all in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

import httpx2

from service.client import Client
from service.contract.trial import Action, Checkpoint, Lease, TrialJob

PREFIX = "/api/v1"


class SmallService:
    """Answers as the real one does, remembers what it was told, and goes away when asked to."""

    def __init__(self, *, tracking_uri: str | None = None) -> None:
        self.away = False
        self.jobs: list[TrialJob] = []
        self.leases: dict[str, Lease] = {}
        self.told: list[tuple[str, dict[str, Any]]] = []  #: (kind, body), beats apart
        self.beats: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.verdicts: dict[str, Action] = {}  #: `heartbeat` or `reports` → what to answer
        self.lost: set[str] = set()
        self.refuse: dict[str, tuple[int, str]] = {}  #: kind → (status, error name)
        self.asked = threading.Event()
        self.asks: list[dict[str, Any]] = []  #: requests for trials
        self.poll_after: float | None = None
        self.lost_answers = 0  #: of so many requests for trials the answer does not arrive
        self.expires_in = 5.0
        self._granted: dict[str | None, list[dict[str, Any]]] = {}
        self._tracking_uri = tracking_uri

    def client(self) -> Client:
        return Client("http://small", patience=0.0, transport=httpx2.MockTransport(self._answer))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]

    def last(self, kind: str) -> dict[str, Any]:
        return [body for told, body in self.told if told == kind][-1]

    def offer(self, job: TrialJob) -> None:
        self.jobs.append(job)

    def resume_of(self, kind: str) -> Checkpoint:
        return Checkpoint.model_validate(self.last(kind)["checkpoint"])

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.away:
            raise httpx2.ConnectError("connection refused", request=request)
        parts = request.url.path.removeprefix(f"{PREFIX}/").split("/")
        if parts[0] == "blobs":
            return self._blob(request, parts[1])
        body = json.loads(request.content or b"{}")
        if parts == ["workers"]:
            if "register" in self.refuse:
                return _problem(*self.refuse["register"])
            self.told.append(("register", body))
            answer = {"id": "w1", "poll_every": 0.05, "tracking_uri": self._tracking_uri}
            return httpx2.Response(201, json=answer)
        if parts == ["leases"]:
            return self._ask(body, request)
        if parts[0] == "trials":
            return httpx2.Response(204)  # no run in MLflow yet
        return self._hear(parts[1], parts[2], body)

    def _blob(self, request: httpx2.Request, digest: str) -> httpx2.Response:
        if request.method == "PUT":
            if "blobs" in self.refuse:
                return _problem(*self.refuse["blobs"])
            content = request.read()
            assert hashlib.sha256(content).hexdigest() == digest
            self.blobs[digest] = content
            return httpx2.Response(201)
        if digest not in self.blobs:
            return _problem(404, "BlobNotFound")
        return httpx2.Response(200, content=self.blobs[digest])

    def _ask(self, body: dict[str, Any], request: httpx2.Request) -> httpx2.Response:
        self.asked.set()
        self.asks.append(body)
        if "leases" in self.refuse:
            return _problem(*self.refuse["leases"])
        word = body["request"]
        if word is None or word not in self._granted:
            self._granted[word] = self._lease(body["capacity"])
        if self.lost_answers:
            self.lost_answers -= 1
            raise httpx2.ReadError("the answer was lost", request=request)
        leases = self._granted[word]
        headers = {} if self.poll_after is None else {"srtune-poll-after": str(self.poll_after)}
        return httpx2.Response(200 if leases else 204, json=leases or None, headers=headers)

    def _lease(self, capacity: int) -> list[dict[str, Any]]:
        taken, self.jobs = self.jobs[:capacity], self.jobs[capacity:]
        leases = []
        for job in taken:
            token = len(self.leases) + 1
            lease = Lease(
                id=f"l{token}",
                token=token,
                expires_in=self.expires_in,
                heartbeat_every=0.05,
                job=job,
            )
            self.leases[lease.id] = lease
            leases.append(lease.model_dump(mode="json"))
        return leases

    def _hear(self, lease: str, kind: str, body: dict[str, Any]) -> httpx2.Response:
        if lease in self.lost:
            return _problem(409, "LeaseLost")
        if kind in self.refuse:
            return _problem(*self.refuse[kind])
        if kind == "heartbeat":
            self.beats.append(body)
        else:
            self.told.append((kind, body))
        if kind in ("heartbeat", "reports"):
            action = self.verdicts.get(kind, Action.CONTINUE)
            return httpx2.Response(200, json={"action": action, "reason": "", "expires_in": 5.0})
        return httpx2.Response(204)


def _problem(status: int, error: str) -> httpx2.Response:
    return httpx2.Response(status, json={"error": error, "detail": f"{error} was asked for"})
