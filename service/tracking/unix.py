"""HTTP over a unix socket that may not be listening."""

from __future__ import annotations

import socket

import httpx2


class UnixTransport(httpx2.HTTPTransport):
    """Requests to a server on a unix socket; ConnectError while nobody listens there.

    No connection is kept, so that none is stale after the server was started again.
    """

    def __init__(self, path: str) -> None:
        super().__init__(uds=path, limits=httpx2.Limits(max_keepalive_connections=0))
        self._path = path

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        # The library leaves a socket open that could not connect, and we ask every 0.1 s.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(self._path)
            except OSError as error:
                raise httpx2.ConnectError(str(error), request=request) from error
        return super().handle_request(request)
