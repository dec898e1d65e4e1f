"""The Python client: one method per route, errors raised as the service raised them.

>>> client = Client("http://127.0.0.1:8470")
>>> study = client.submit(yaml.safe_load(Path("study.yaml").read_text()))
>>> client.best(study.id).trial.weights
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, TypeAdapter

from service.contract.access import (
    AuditEntry,
    NewToken,
    OwnerView,
    Quota,
    TokenRequest,
    TokenView,
)
from service.contract.errors import BY_NAME, BlobMismatch, Problem, ServerUnreachable, SrtuneError
from service.contract.trial import (
    Best,
    Blob,
    EnqueueRequest,
    Failure,
    Front,
    Heartbeat,
    Importance,
    Lease,
    LeaseRequest,
    Release,
    Report,
    Result,
    StudyView,
    TrackingRun,
    Transfer,
    TrialView,
    Verdict,
)
from service.contract.vocabulary import Vocabulary
from service.contract.worker import Registered, Registration, WorkerView

Answer = TypeVar("Answer", bound=BaseModel)
API = "/api/v1"
_CHUNK = 1 << 20
#: Answers after which the same request may succeed; 429 and gateways in between included.
_RETRIED = frozenset({429, 502, 503, 504})


class Client:
    """Talks to one srtune service.

    Every write is safe to repeat, so connection errors and 429/502/503/504 are retried with
    growing, jittered pauses until `patience` seconds have passed; then `ServerUnreachable` or the
    service's own error is raised. `patience=0` asks once.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        patience: float = 20.0,
        timeout: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        self.patience = patience
        #: Seconds until the service wants to be asked for trials again; None: it did not say.
        self.poll_after: float | None = None
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(
            base_url=self.server, headers=headers, timeout=timeout, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- studies -----------------------------------------------------------------------------

    def submit(self, definition: dict[str, Any], *, key: str | None = None) -> StudyView:
        """Store a study and start it; `key` makes a repeat return the first answer."""
        return self._call(StudyView, "POST", "/studies", json=definition, headers=_once(key))

    def validate(self, definition: dict[str, Any]) -> list[Problem]:
        """The problems of a definition, none if it would be accepted; stores nothing."""
        return self._list(Problem, "POST", "/studies/validate", json=definition)

    def studies(self, *, state: str | None = None) -> list[StudyView]:
        """All studies, newest first."""
        return list(self._pages(StudyView, "/studies", state=state))

    def study(self, ref: str) -> StudyView:
        """A study by id, or by name (the newest of that name)."""
        return self._call(StudyView, "GET", f"/studies/{_segment(ref)}")

    def pause(self, ref: str) -> StudyView:
        return self._call(StudyView, "POST", f"/studies/{_segment(ref)}/pause")

    def resume(self, ref: str) -> StudyView:
        return self._call(StudyView, "POST", f"/studies/{_segment(ref)}/resume")

    def stop(self, ref: str) -> StudyView:
        return self._call(StudyView, "POST", f"/studies/{_segment(ref)}/stop")

    def delete(self, ref: str, *, key: str | None = None) -> None:
        """Remove a study; `key` makes a repeat harmless even where `ref` is a name."""
        self._send("DELETE", f"/studies/{_segment(ref)}", headers=_once(key))

    # -- trials and results ------------------------------------------------------------------

    def trials(self, ref: str, *, state: str | None = None) -> list[TrialView]:
        """Every trial of a study, in order of number."""
        return list(self._pages(TrialView, f"/studies/{_segment(ref)}/trials", state=state))

    def trial(self, ref: str, number: int) -> TrialView:
        return self._call(TrialView, "GET", f"/studies/{_segment(ref)}/trials/{number}")

    def enqueue(self, ref: str, request: EnqueueRequest, *, key: str | None = None) -> TrialView:
        """Add a point of one's own to the queue; `key` makes a repeat return the first answer."""
        path = f"/studies/{_segment(ref)}/trials"
        return self._call(TrialView, "POST", path, body=request, headers=_once(key))

    def front(self, ref: str) -> Front:
        return self._call(Front, "GET", f"/studies/{_segment(ref)}/front")

    def best(self, ref: str, *, prefer: str | None = None) -> Best:
        """The chosen point of the front: its knee, or the best in the metric `prefer`."""
        return self._call(
            Best, "GET", f"/studies/{_segment(ref)}/best", params=_given(prefer=prefer)
        )

    def importance(self, ref: str) -> list[Importance]:
        return self._list(Importance, "GET", f"/studies/{_segment(ref)}/importance")

    def transfer(self, ref: str) -> list[Transfer]:
        return self._list(Transfer, "GET", f"/studies/{_segment(ref)}/transfer")

    def events(self, ref: str) -> Iterator[StudyView]:
        """The study now and after every change, until it ends; yields nothing while quiet."""
        path = f"{API}/studies/{_segment(ref)}/events"
        try:
            with self._http.stream("GET", path, timeout=httpx2.Timeout(30, read=60)) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error(answer)
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        yield StudyView.model_validate_json(line.removeprefix("data: "))
        except httpx2.TransportError as error:
            raise ServerUnreachable(f"{self.server} broke off the events: {error}") from error

    def vocabulary(self) -> Vocabulary:
        """Losses, models, metrics and recipes a study may name."""
        return self._call(Vocabulary, "GET", "/vocabulary")

    def ready(self) -> bool:
        """Whether the service answers and has its database."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    # -- workers -----------------------------------------------------------------------------

    def register(self, registration: Registration) -> Registered:
        return self._call(Registered, "POST", "/workers", body=registration)

    def workers(self) -> list[WorkerView]:
        return self._list(WorkerView, "GET", "/workers")

    def drain(self, worker: str) -> WorkerView:
        return self._call(WorkerView, "POST", f"/workers/{worker}/drain")

    def lease(self, request: LeaseRequest) -> list[Lease]:
        """Up to `capacity` trials of one study; empty when there is nothing to do.

        `poll_after` then says in how many seconds to ask again, if the service does.
        """
        answer = self._send("POST", "/leases", json=request.model_dump(mode="json"))
        self.poll_after = _seconds(answer.headers.get("srtune-poll-after"))
        if answer.status_code == 204:
            return []
        return TypeAdapter(list[Lease]).validate_json(answer.content)

    def heartbeat(self, lease: str, beat: Heartbeat) -> Verdict:
        return self._call(Verdict, "POST", f"/leases/{lease}/heartbeat", body=beat)

    def report(self, lease: str, report: Report) -> Verdict:
        return self._call(Verdict, "POST", f"/leases/{lease}/reports", body=report)

    def complete(self, lease: str, result: Result) -> None:
        self._send("POST", f"/leases/{lease}/result", json=result.model_dump(mode="json"))

    def fail(self, lease: str, failure: Failure) -> None:
        self._send("POST", f"/leases/{lease}/failure", json=failure.model_dump(mode="json"))

    def release(self, lease: str, release: Release) -> None:
        self._send("POST", f"/leases/{lease}/release", json=release.model_dump(mode="json"))

    def tracking(self, uid: str) -> TrackingRun | None:
        """Where a trial's MLflow run is; None while the service could not open one yet."""
        answer = self._send("GET", f"/trials/{uid}/tracking")
        return (
            None if answer.status_code == 204 else TrackingRun.model_validate_json(answer.content)
        )

    # -- access, for admins ------------------------------------------------------------------

    def create_token(self, request: TokenRequest, *, key: str | None = None) -> NewToken:
        """A new token with its secret, which nobody is told again."""
        return self._call(NewToken, "POST", "/tokens", body=request, headers=_once(key))

    def tokens(self) -> list[TokenView]:
        """Every token ever made, the newest first."""
        return self._list(TokenView, "GET", "/tokens")

    def revoke_token(self, ref: str) -> None:
        """Make worthless a token by its id, or all of a name."""
        self._send("DELETE", f"/tokens/{_segment(ref)}")

    def set_quota(self, owner: str, quota: Quota) -> OwnerView:
        """Limit what an owner's studies take of the fleet together."""
        return self._call(OwnerView, "PUT", f"/owners/{_segment(owner)}", body=quota)

    def quotas(self) -> list[OwnerView]:
        """Owners with a quota."""
        return self._list(OwnerView, "GET", "/owners")

    def delete_quota(self, owner: str) -> None:
        self._send("DELETE", f"/owners/{_segment(owner)}")

    def audit(self, *, subject: str | None = None) -> list[AuditEntry]:
        """Changes of state, newest first; all, or those of one study, token, owner or worker."""
        return list(self._pages(AuditEntry, "/audit", subject=subject))

    # -- blobs -------------------------------------------------------------------------------

    def put_blob(self, path: Path) -> Blob:
        """Store a file under its SHA-256; storing the same bytes again costs one question."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        blob = Blob(sha256=digest.hexdigest(), size=path.stat().st_size)
        if self._http_send("HEAD", f"/blobs/{blob.sha256}").status_code != 200:
            headers = {"content-type": "application/octet-stream", "content-length": str(blob.size)}
            self._send("PUT", f"/blobs/{blob.sha256}", file=path, headers=headers)
        return blob

    def get_blob(self, blob: Blob, path: Path) -> Path:
        """Fetch a stored object to `path`, whole or not at all; checks the digest."""
        answer = self._send("GET", f"/blobs/{blob.sha256}")
        if hashlib.sha256(answer.content).hexdigest() != blob.sha256:
            raise BlobMismatch(f"{self.server} sent other bytes than {blob.sha256}; fetch again")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.part-{random.getrandbits(32):08x}")
        partial.write_bytes(answer.content)
        return partial.replace(path)

    # -- the wire ----------------------------------------------------------------------------

    def _call(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        **options: Any,
    ) -> Answer:
        if body is not None:
            options["json"] = body.model_dump(mode="json")
        return answer.model_validate_json(self._send(method, path, **options).content)

    def _list(self, item: type[Answer], method: str, path: str, **options: Any) -> list[Answer]:
        return TypeAdapter(list[item]).validate_json(  # type: ignore[valid-type]
            self._send(method, path, **options).content
        )

    def _pages(self, item: type[Answer], path: str, **filters: str | None) -> Iterator[Answer]:
        params = _given(**filters)
        while True:
            page = self._send("GET", path, params=params).json()
            yield from (item.model_validate_json(_dumps(one)) for one in page["items"])
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        answer = self._http_send(method, path, **options)
        if answer.is_error:
            raise _error(answer)
        return answer

    def _http_send(
        self, method: str, path: str, *, file: Path | None = None, **options: Any
    ) -> httpx2.Response:
        deadline, pause = time.monotonic() + self.patience, 0.2
        while True:
            at_least = 0.0
            try:
                content = _chunks(file) if file is not None else None
                answer = self._http.request(method, API + path, content=content, **options)
                at_least = _asked_to_wait(answer)
                wait = max(pause, at_least)
                if answer.status_code not in _RETRIED or time.monotonic() + wait > deadline:
                    return answer
            except httpx2.TransportError as error:
                if time.monotonic() + pause > deadline:
                    raise ServerUnreachable(
                        f"nothing answered at {self.server} ({error}); is `srtune up` or `srtune serve` "
                        "running there, and is the address right?"
                    ) from error
            time.sleep(max(pause * random.uniform(0.5, 1.0), at_least))
            pause = min(2 * pause, 5.0)


def _asked_to_wait(answer: httpx2.Response) -> float:
    """Seconds that a service which is asked too much wants to be left alone."""
    said = answer.headers.get("retry-after", "")
    return float(said) if answer.status_code == 429 and said.isdecimal() else 0.0


def _once(key: str | None) -> dict[str, str]:
    """A header for writes that must not happen twice: the client repeats them by itself."""
    return {"idempotency-key": key or f"{time.time_ns():x}{random.getrandbits(64):016x}"}


def _segment(ref: str) -> str:
    """A study's id or name as one path segment."""
    return quote(ref, safe="")


def _given(**params: str | None) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


def _seconds(header: str | None) -> float | None:
    """What a header says in seconds, if it says anything sensible: at most five minutes."""
    try:
        seconds = float(header or "nan")
    except ValueError:
        return None
    return min(max(seconds, 0.0), 300.0) if math.isfinite(seconds) else None


def _dumps(value: object) -> bytes:
    return TypeAdapter(Any).dump_json(value)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _error(answer: httpx2.Response) -> SrtuneError:
    """The service's own error again; anything else keeps its status and text."""
    try:
        body = answer.json()
        kind = BY_NAME[body["error"]]
        problems = [Problem.model_validate(problem) for problem in body.get("problems", [])]
        return kind(body["detail"], problems=problems)
    except (ValueError, KeyError, TypeError):
        error = SrtuneError(
            f"{answer.request.url} answered {answer.status_code}: {answer.text[:300]}; "
            "is this an srtune service?"
        )
        error.status = answer.status_code
        return error
