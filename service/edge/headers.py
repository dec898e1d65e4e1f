"""Headers that every answer carries."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAME, _VALUE = b"x-content-type-options", b"nosniff"


class SafeHeaders:
    """Middleware: forbids browsers to guess that an answer is something else than it says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                if not any(name == _NAME for name, _ in headers):
                    message["headers"] = [*headers, (_NAME, _VALUE)]
            await send(message)

        await self._app(scope, receive, safe)
