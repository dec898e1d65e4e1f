"""Whether a browser sends a request for a page of ours or for one of another site.

Browsers add what they know (a remembered password, or that they run on this machine) to whatever
any page sends. They also say which page it was, in `Origin`; programs say nothing.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem_response
from service.contract.errors import Forbidden
from service.settings import Settings

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """Middleware: refuses writes of pages that are neither ours nor in SRTUNE_ORIGINS."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._origins = frozenset(settings.origins)
        # By its name alone: whoever ends TLS in front of us changes the scheme.
        self._public = urlsplit(settings.public_url).netloc if settings.public_url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            headers = dict(scope["headers"])
            origin = headers.get(b"origin")
            if origin is not None and not self._own(origin, headers.get(b"host", b"")):
                refused = Forbidden(
                    "a page of another site may not change anything here; "
                    "add its origin to SRTUNE_ORIGINS if it should"
                )
                await problem_response(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _own(self, sent: bytes, host: bytes) -> bool:
        origin = sent.decode("latin-1")
        if origin in self._origins:
            return True
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:
            return False
        return bool(netloc) and netloc in (host.decode("latin-1"), self._public)
