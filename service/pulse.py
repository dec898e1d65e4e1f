"""A thread that does one thing again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service import trail
from service.contract.errors import Unavailable

logger = logging.getLogger(__name__)
#: Seconds an act under way is waited for; what it did not commit by then counts for nothing.
_PATIENCE = 1.5


class Pulse:
    """Acts at least every so many seconds, and at once when woken.

    A database that is away is waited for; a bug in the act is logged and does not end the thread,
    because a service that answers but no longer proposes or reaps is worse than a noisy one.
    However often it is woken, it rests `rest` seconds between acts.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[], object],
        *,
        every: float,
        delay: float = 0.0,
        rest: float = 0.0,
    ) -> None:
        self._act, self._every, self._delay, self._rest = act, every, delay, rest
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wake(self) -> None:
        """Act as soon as the present act is over."""
        self._woken.set()

    def end(self) -> None:
        """Act no more after the present act; does not wait for it."""
        self._ended.set()
        self._woken.set()

    @contextmanager
    def beating(self) -> Iterator[Pulse]:
        """Run inside of this block; an act under way is waited for at its end."""
        self._thread.start()
        try:
            yield self
        finally:
            self.end()
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        with trail.on(work=self._thread.name):
            self._beat()

    def _beat(self) -> None:
        self._ended.wait(self._delay)
        while not self._ended.is_set():
            self._woken.clear()
            try:
                self._act()
            except Unavailable as error:
                logger.warning("%s waits: %s", self._thread.name, error.detail)
                self._ended.wait(self._every)
            except Exception:
                logger.exception("%s failed and goes on", self._thread.name)
                self._ended.wait(self._every)
            self._ended.wait(self._rest)
            self._woken.wait(self._every)
