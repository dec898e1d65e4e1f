"""The HTTP server of `srtune serve`, and how it ends: in good order, and soon."""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
import time
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from service.edge.patience import patient

logger = logging.getLogger(__name__)

#: Seconds running requests get once nothing new is accepted.
_GRACE = 2
#: Seconds from the signal to the end, whatever happens; supervisors kill after ten or more.
_AT_MOST = 4.8
#: A worker beats every few seconds: its connection is kept from one beat to the next.
_KEEP_ALIVE = 30


class Server(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, then drains.

    `ending` is set at once, so that readiness says no while requests are still answered; after
    `announce` seconds nothing new is accepted, running requests get `_GRACE` seconds, and the
    application closes. A second signal skips the waiting.
    """

    def __init__(
        self, app: ASGIApp, *, ending: threading.Event, announce: float, head_seconds: float
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # Written in C: half the time per request of asyncio's loop and h11.
                loop="uvloop",
                http=patient(head_seconds),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                backlog=2048,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._ending, self._announce = ending, announce
        self._leaves = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application; what is there by then stays, and is not looked at for garbage."""
        await super().startup(sockets)
        if self.started:
            address = self.servers[0].sockets[0].getsockname()
            logger.info("serving", extra={"host": address[0], "port": address[1]})
        gc.freeze()
        gc.enable()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; this runs inside of a signal handler and must not wait."""
        if self._ending.is_set():
            super().handle_exit(sig, frame)
            self._captured_signals.clear()  # or it would be raised again once all is closed
            return
        self._leaves = time.monotonic() + self._announce
        self._ending.set()
        cut = threading.Timer(_AT_MOST, _cut_off)
        cut.daemon = True
        cut.start()

    async def on_tick(self, counter: int) -> bool:
        """Asked by uvicorn ten times a second whether to stop."""
        if self._ending.is_set() and not self.should_exit and time.monotonic() >= self._leaves:
            logger.info("draining", extra={"open_connections": len(self.server_state.connections)})
            self.should_exit = True
        return await super().on_tick(counter)


def _cut_off() -> None:
    # Nothing that was answered is lost: answers follow their commit. Children die with us.
    logger.warning("the end took too long; what still ran is cut off")
    logging.shutdown()
    os._exit(0)
