"""Which writes to the lab book go through: an admin's, and a worker's about its own run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from service.contract.access import Caller, Scope
from service.tracking.bodies import LARGEST, Objection, by_worker, checked_source, parsed, run_of
from service.tracking.owners import RunOwner
from service.tracking.routes import SAFE, Right, right_of, run_of_file

_FOREIGN = "This run is not of a trial that a worker with this token trains."


class Admission:
    """Reads a request's body as far as needed to judge it.

    `owner_of` gives the owner of a run; `largest_file` is in bytes. The caller is
    `request.state.caller`; a request without one writes nothing.
    """

    def __init__(
        self, owner_of: Callable[[str], RunOwner | None], *, largest_file: int = 2 << 30
    ) -> None:
        self._owner_of = owner_of
        self._largest_file = largest_file

    async def content(self, path: str, request: Request) -> bytes | AsyncIterator[bytes] | None:
        """The body as MLflow gets it, None if it gets none; raises Objection."""
        if request.method in SAFE:
            return None
        right = right_of(request.method, path)
        caller: Caller | None = getattr(request.state, "caller", None)
        admin = caller is not None and caller.admin
        if right is Right.CHANGE and not admin:
            raise Objection(403, "This changes the lab book for all; it takes the scope admin.")
        if request.method == "PUT":
            if not admin:
                experiment_id, run_id = run_of_file(path) or ("", "")
                await self._check_own(caller, run_id, experiment_id)
            return self._file(request)
        body = parsed(await _small(request))
        if "/model-versions/" in path:
            checked_source(body)
        if right is Right.LOG and not admin:
            run_id = run_of(body) or ""
            await self._check_own(caller, run_id)
            body = by_worker(path.rsplit("/", 1)[1], run_id, body)
        return json.dumps(body).encode()

    async def _check_own(
        self, caller: Caller | None, run_id: str, experiment_id: str | None = None
    ) -> None:
        """Raise Objection unless a worker of this caller had the run's trial last."""
        if caller is None or Scope.WORKER not in caller.scopes or not run_id:
            raise Objection(403, _FOREIGN)
        owner = await run_in_threadpool(self._owner_of, run_id)
        if owner is None or owner.token_id is None or owner.token_id != caller.id:
            raise Objection(403, _FOREIGN)
        if experiment_id is not None and experiment_id != owner.experiment_id:
            raise Objection(403, _FOREIGN)

    def _file(self, request: Request) -> AsyncIterator[bytes]:
        too_large = Objection(413, f"The file has more than {self._largest_file} bytes.")
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._largest_file:
            raise too_large

        async def pieces() -> AsyncIterator[bytes]:
            size = 0
            async for piece in request.stream():
                size += len(piece)
                if size > self._largest_file:
                    raise too_large
                yield piece

        return pieces()


async def _small(request: Request) -> bytes:
    """The whole body of a call; raises Objection if it is large, packed, or no JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or "content-encoding" in request.headers:
        raise Objection(415, "MLflow takes application/json here, not packed.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise Objection(413, f"The body has more than {LARGEST} bytes; send it in parts.")
    return bytes(body)
