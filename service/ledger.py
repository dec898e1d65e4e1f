"""Group commit: what workers write at the same time goes to the database in one transaction.

A commit waits for the disk, whatever is in it, and statements have a price of their own. One thread
takes all operations that have come in while the last transaction was committed, reads what they
need in bulk, does one after the other, and commits once. Nothing changes for the caller: his
operation is done, all of it, when he gets his answer, and in an order with all others.

An operation that raises in the middle must not take others with it, nor leave half of itself
behind: the transaction is rolled back and each operation is done again by itself. Who is refused at
the door (a lost lease, a stranger) has changed nothing; a storm of zombies costs no transactions.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from service import dispatch, holding, trail
from service.contract.access import Caller
from service.contract.errors import (
    Forbidden,
    LeaseLost,
    SrtuneError,
    Unavailable,
    WorkerNotFound,
)
from service.contract.trial import LeaseRequest
from service.db import Contended, Database, Disconnected

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

#: More would keep the first one waiting longer than a commit of its own.
_LARGEST = 64
_PATIENCE = 10.0
#: What waited longer is repeated by its caller soon or already; doing it now only delays others.
_STALE = 10.0
#: Raised only before anything is changed (`held_by`, `check_speaks`, an unknown worker).
_REFUSALS = (LeaseLost, Forbidden, WorkerNotFound)


@dataclass(frozen=True)
class _Operation:
    act: Callable[[Session], Any]
    lease: str | None  #: the lease it is about ...
    request: LeaseRequest | None  #: ... or what it asks for
    rungs: bool
    answer: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    #: Whose ids its log lines carry.
    context: Context = field(default_factory=copy_context)

    def done(self, session: Session) -> Any:
        """Do it, as the request that asked for it."""
        return self.context.run(self.act, session)


class Ledger:
    """The one writer of leases and what is told about them; for many callers at a time.

    `observe` is told the number of operations of every transaction.
    """

    def __init__(
        self, database: Database, *, observe: Callable[[int], None] = lambda count: None
    ) -> None:
        self._database, self._observe = database, observe
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    @contextmanager
    def open(self) -> Iterator[Ledger]:
        """Write inside of this block; what was taken in is answered before it ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self.close()
            self._thread.join(_PATIENCE)

    def close(self) -> None:
        """Take nothing more in; answer what waits."""
        self._closed = True
        self._queue.put(None)

    async def about(
        self, lease: str, act: Callable[[Session], Answer], *, rungs: bool = False
    ) -> Answer:
        """Do something about a lease, which is read ahead (with its reports: `rungs`)."""
        answer: Answer = await self._do(_Operation(act, lease=lease, request=None, rungs=rungs))
        return answer

    async def lease(
        self, request: LeaseRequest, caller: Caller, *, lease_seconds: float
    ) -> dispatch.Offer:
        """Answer a worker that has room."""
        act = partial(dispatch.lease, request=request, caller=caller, lease_seconds=lease_seconds)
        offer: dispatch.Offer = await self._do(
            _Operation(act, lease=None, request=request, rungs=False)
        )
        return offer

    async def _do(self, operation: _Operation) -> Any:
        if self._closed:
            raise Unavailable("the service is shutting down; ask again when it is back")
        # From now on it cannot be called off: a caller who hangs up must not stop the others.
        operation.answer.set_running_or_notify_cancel()
        self._queue.put(operation)
        return await asyncio.wrap_future(operation.answer)

    def _run(self) -> None:
        while True:
            operations, last = self._collect()
            operations = self._shed(operations)
            # Apart, because leases choose the studies they lock and must hold no other before.
            asking = [one for one in operations if one.request is not None]
            telling = [one for one in operations if one.request is None]
            for group in (telling, asking):
                if group:
                    self._commit(group)
            if last:
                return

    def _collect(self) -> tuple[list[_Operation], bool]:
        """Everything that waits, at least one; and whether it was the last."""
        operations: list[_Operation] = []
        try:
            one = self._queue.get()
            while one is not None:
                operations.append(one)
                if len(operations) == _LARGEST:
                    return operations, False
                one = self._queue.get_nowait()
        except queue.Empty:
            return operations, False
        return operations, True

    def _shed(self, operations: list[_Operation]) -> list[_Operation]:
        """Those that are still waited for; the others hear that the service is overloaded."""
        before = time.monotonic() - _STALE
        for one in operations:
            if one.since < before:
                one.answer.set_exception(Unavailable("the service is overloaded; ask again"))
        return [one for one in operations if one.since >= before]

    def _commit(self, group: Sequence[_Operation]) -> None:
        # Who has gone meanwhile is still served: his worker will ask for the answer again.
        try:
            try:
                answers = self._transact(group)
            except Disconnected:
                # The pool lends what answered a second ago. Should this have been committed after
                # all, then repeats get their first answers, as the repeats of callers do.
                answers = self._transact(group)
        except Exception as error:
            apart = len(group) > 1 and (
                isinstance(error, Contended) or not isinstance(error, Unavailable)
            )
            if not isinstance(error, SrtuneError) and not apart:
                logger.exception("an operation failed")
            for one in group:
                if apart:
                    self._commit([one])
                else:
                    one.answer.set_exception(error)
        else:
            for one, answer in zip(group, answers, strict=True):
                if isinstance(answer, SrtuneError):
                    one.answer.set_exception(answer)
                else:
                    one.answer.set_result(answer)

    def _transact(self, group: Sequence[_Operation]) -> list[Any]:
        with trail.on(work="ledger"), self._database.writing() as session:
            requests = [one.request for one in group if one.request is not None]
            leases = [one.lease for one in group if one.lease is not None]
            if requests:
                dispatch.load(session, requests)
            if leases:
                holding.load(session, leases, rungs=any(one.rungs for one in group))
            answers = [_answer(one, session) for one in group]
        self._observe(len(group))
        return answers


def _answer(operation: _Operation, session: Session) -> Any:
    """What an operation answers; a refusal from before it changed anything is an answer, too."""
    try:
        return operation.done(session)
    except _REFUSALS as error:
        return error
