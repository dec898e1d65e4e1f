"""Who asks, known without asking the database each time.

What a token is worth is read at most once a second: a revoked one dies within a second on every
replica, and a thousand workers cost one statement a second together. Everything here runs in the
event loop, so that nothing needs a lock; only the reading happens in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from service import trail
from service.contract.access import LOCAL
from service.db import Database
from service.settings import Settings
from service.tokens import NO_TOKEN, Pass, any_token, digest, note_uses, operator, passes

#: Seconds that what was read is believed.
FRESH = 1.0
#: Whoever came within so many seconds is read along with those who ask now.
_REGULAR = 10.0
_MOST = 4096
#: Uses are written in batches of this many, a limit of the databases' parameters.
_BATCH = 1000


@dataclass(slots=True)
class _Known:
    worth: Pass
    read: float  #: monotonic, before the database was asked
    came: float

    def holds(self, at: float, asked: float) -> bool:
        """Whether it is young enough, or at least younger than the question."""
        age = at - self.read
        if self.worth.lasts is not None and age >= self.worth.lasts:
            return False
        # A database that takes longer than a second to answer must not be asked for ever.
        return age < FRESH or self.read >= asked


class Callers:
    """Recognises callers by their secrets."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        # The least recently used go first when there are too many, guesses among them.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._wanted: set[str] = set()
        self._reading: asyncio.Task[None] | None = None
        # Kept, because asking an address whether it is loopback costs as much as all else here.
        self._local = settings.loopback and settings.token is None
        self._open = self._local
        self._open_read = float("-inf")
        self._used: set[str] = set()

    async def recognise(self, secret: str | None) -> Pass:
        """What this secret is worth; LOCAL where no token was ever made and nobody else connects."""
        if secret is not None:
            known = operator(self._settings, secret)
            if known is not None:
                return Pass(known)
        # Where everybody is admitted, a token that was kept from elsewhere does no harm.
        if self._local and await self._is_open():
            return Pass(LOCAL)
        if secret is None:
            return NO_TOKEN
        return await self._worth(digest(secret))

    def forget(self) -> None:
        """Read everything again at its next use, because tokens have changed."""
        self._known.clear()
        self._open_read = float("-inf")

    def write_uses(self) -> None:
        """Write down which tokens were used since the last time; for a thread, once a minute."""
        used, self._used = self._used, set()
        while used:
            batch = {used.pop() for _ in range(min(_BATCH, len(used)))}
            with self._database.writing() as session:
                note_uses(session, batch)

    async def _is_open(self) -> bool:
        # Closed once is closed for ever: tokens are never removed, only revoked.
        asked = time.monotonic()
        while (
            self._open and self._open_read < asked and time.monotonic() - self._open_read >= FRESH
        ):
            await self._read_along()
        return self._open

    async def _worth(self, key: str) -> Pass:
        asked = time.monotonic()
        while True:
            at = time.monotonic()
            known = self._known.get(key)
            if known is not None and known.holds(at, asked):
                known.came = at
                self._known.move_to_end(key)
                if known.worth.caller is not None:
                    self._used.add(key)
                return known.worth
            self._wanted.add(key)
            await self._read_along()

    async def _read_along(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        # Shielded, because others wait for the same reading when one of them goes away.
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            at = time.monotonic()
            wanted, self._wanted = self._wanted, set()
            regulars = {
                key
                for key, known in self._known.items()
                if known.worth.caller is not None and at - known.came < _REGULAR
            }
            worths, closed = await run_in_threadpool(self._ask, wanted | regulars)
            for key, worth in worths.items():
                came = self._known[key].came if key in self._known else at
                self._known[key] = _Known(worth, at, came)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
            self._open, self._open_read = self._open and not closed, at
        finally:
            self._reading = None

    def _ask(self, digests: set[str]) -> tuple[dict[str, Pass], bool]:
        with trail.on(work="tokens"), self._database.reading() as session:
            worths = passes(session, digests) if digests else {}
            return worths, self._open and any_token(session)
