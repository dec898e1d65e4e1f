"""Whether a request was meant for this server.

A page of another site can make its own name point at this machine (DNS rebinding) and then talk to
us as if it were ours. What it cannot change is the name in `Host`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem_response
from service.contract.errors import WrongHost
from service.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: Probes ask by whatever address they have; these answers tell nobody anything.
_PROBES = frozenset({"/healthz", "/readyz"})


class Hosts:
    """Middleware: refuses requests that name another server.

    On loopback the names are those of this machine, SRTUNE_HOSTS and the public URL's. Elsewhere,
    without SRTUNE_HOSTS, any name will do: there every request needs a token.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._names = _names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._names is not None:
            sent = [value for name, value in scope["headers"] if name == b"host"]
            named = host_of(sent[0].decode("latin-1")) if len(sent) == 1 else ""
            if named not in self._names and scope["path"] not in _PROBES:
                shown = named if named.isascii() and named.isprintable() else "another server"
                refused = WrongHost(
                    f"this service does not answer as {shown[:80] or 'nobody'}; "
                    "add the name to SRTUNE_HOSTS if it should"
                )
                await problem_response(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_of(netloc: str) -> str:
    """`Host` without its port, in lower case; empty if it is malformed."""
    if netloc.startswith("["):
        name, bracket, port = netloc.partition("]")
        name += bracket
        port = port.removeprefix(":")
    else:
        name, _, port = netloc.partition(":")
    return name.lower().removesuffix(".") if not port or port.isdecimal() else ""


def _names(settings: Settings) -> frozenset[str] | None:
    if not settings.loopback and not settings.hosts:
        return None
    public = urlsplit(settings.public_url).netloc if settings.public_url else ""
    bound = f"[{settings.host}]" if ":" in settings.host else settings.host
    given = {host_of(host) for host in (*settings.hosts, public, bound) if host}
    return _LOOPBACK | given
