"""Who asks too much, and who guesses tokens, hears 429 and when to come back."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem_response
from service.contract.errors import RateLimited
from service.edge.buckets import Buckets, Guesses
from service.tokens import Pass

_LEASES = "/api/v1/leases"
#: Sixteen fast workers behind one token make hundreds of these a second, and that is their work.
_LEASE_COST = 0.1


class Rates:
    """Middleware: a bucket per token, or per address without; and a lock against guessing.

    `rate` in requests per second, `guesses` in wrong tokens per address; 0 switches one off.
    """

    def __init__(self, app: ASGIApp, *, rate: float, guesses: int) -> None:
        self._app = app
        self._buckets = Buckets(rate) if rate else None
        self._guesses = Guesses(guesses) if guesses else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        address = client[0] if client else ""
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        # A hash in memory is enough to tell tokens apart, and is none.
        key = hash(address if sent is None else sent)
        refused = self._refused(scope["path"], address, key, has_token=sent is not None)
        if refused is not None:
            await problem_response(refused)(scope, receive, send)
            return
        scope.setdefault("state", {})
        await self._app(scope, receive, send)
        if sent is not None and self._guesses is not None:
            self._learn(scope["state"].get("worth"), address, key)

    def _refused(self, path: str, address: str, key: int, *, has_token: bool) -> RateLimited | None:
        at = time.monotonic()
        if has_token and self._guesses is not None:
            wait = self._guesses.wait(address, key, at)
            if wait:
                return RateLimited(
                    f"{address} sent too many wrong tokens; wait {wait:.0f} seconds",
                    retry_after=wait,
                )
        if self._buckets is not None:
            cost = _LEASE_COST if path.startswith(_LEASES) else 1.0
            wait = self._buckets.wait(key, at, cost)
            if wait:
                return RateLimited(
                    "this token asks more often than SRTUNE_RATE allows; slow down",
                    retry_after=wait,
                )
        return None

    def _learn(self, worth: Pass | None, address: str, key: int) -> None:
        if worth is None or self._guesses is None:
            return
        if worth.caller is not None:
            self._guesses.was_right(key)
        elif worth.unknown:
            self._guesses.was_wrong(address, key, time.monotonic())
