"""Connections to PostgreSQL that give up on a server which no longer answers.

The server's own limits end a statement or a lock that takes too long, and let go of what a frozen
service holds. They are worth nothing when the server itself is frozen, so the client has a limit
of its own: without it one stopped PostgreSQL holds every thread of the service for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.abc import PQGen

Answer = TypeVar("Answer")

#: Seconds; each a little longer than the one that should have struck first.
_LOCK, _STATEMENT, _ANSWER = 10, 15, 20
#: Between looks whether it is silent.
_LOOK = 0.1
#: A service that froze in mid-transaction must not hold its rows for ever; a sampler may think
#: for some seconds inside of one.
_IDLE = 60

#: A connection that answered so recently is lent without asking it again.
_QUIET = 1.0

#: libpq's own words for how long to wait for a connection, and for a machine that is gone.
_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": _ANSWER * 1000,
}
_SETTINGS = {
    "lock_timeout": f"{_LOCK}s",
    "statement_timeout": f"{_STATEMENT}s",
    "idle_in_transaction_session_timeout": f"{_IDLE}s",
}


class Connection(psycopg.Connection[Any]):
    """One that fails with OperationalError, and is closed, after `_ANSWER` seconds of silence."""

    #: When the server last answered, by the monotonic clock.
    answered = 0.0

    def wait(
        self, gen: PQGen[Answer], interval: float = _LOOK, timeout: float | None = None
    ) -> Answer:
        """What the server answers to this step."""
        answer = super().wait(self._impatient(gen), interval, timeout)
        self.answered = time.monotonic()
        return answer

    def _impatient(self, gen: PQGen[Answer]) -> PQGen[Answer]:
        """The same conversation, broken off when nothing comes for too long."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _ANSWER:
                    # Its answer, should it come, would be taken for that to the next statement.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer for {_ANSWER} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def connect(*arguments: Any, **options: Any) -> Connection:
    """A connection with all limits; what the URL says itself goes before."""
    given = str(options.pop("options", "") or "")
    limits = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    return Connection.connect(*arguments, **{**_OPTIONS, "options": f"{limits} {given}", **options})


def alive(connection: Connection, ask: Callable[[Any], bool]) -> bool:
    """Whether a connection from the pool still works; asked only where it was quiet for a while.

    The question costs a round trip, which a busy service would pay with every transaction.
    """
    return time.monotonic() - connection.answered < _QUIET or ask(connection)
