"""Keeps a worker's leases alive, from a thread that does not care how training goes."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from service import trail
from service.client import Client
from service.contract.errors import LeaseLost, NotFound, SrtuneError
from service.contract.trial import Action, Heartbeat, Lease, Verdict

logger = logging.getLogger(__name__)

#: Seconds beyond the end of a lease until a worker that hears nothing takes it for forsaken; by
#: its own monotonic clock, which no change of the time of day touches.
FORSAKEN_AFTER = 10.0


@dataclass(eq=False)
class Holding:
    """A lease as the threads of a worker share it: how far training is, what the service said."""

    lease: Lease
    step: int = 0
    steps_per_second: float = 0.0
    action: Action = Action.CONTINUE
    reason: str = ""
    lost: bool = False  #: another worker may have it; nothing may be said about it any more
    ended: bool = False  #: the service has recorded its end
    renewed: float = field(default_factory=time.monotonic)
    told: float = 0.0  #: seconds of silence from which on the log says so (again)
    #: Held during a call that may end the lease, so that a beat cannot come between the end and
    #: the word of it.
    talking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def forsaken(self) -> bool:
        """Whether the service has not answered for so long that somebody else may have the trial."""
        return time.monotonic() - self.renewed > self.lease.expires_in + FORSAKEN_AFTER

    @property
    def who(self) -> dict[str, object]:
        """The ids that its lines in the log carry, as the service's log names it."""
        lease, job = self.lease, self.lease.job
        return {
            "study": job.study_id,
            "trial": job.uid,
            "attempt": lease.token,
            "lease": lease.id,
        }

    @property
    def open(self) -> bool:
        """Whether the service still expects news of it."""
        return not (self.lost or self.ended)

    def hear(self, verdict: Verdict) -> None:
        """Take in the service's answer; anything but CONTINUE means that the trial is over there."""
        self.renewed, self.told = time.monotonic(), 0.0
        if self.action is Action.CONTINUE and verdict.action is not Action.CONTINUE:
            self.action, self.reason, self.ended = verdict.action, verdict.reason, True

    def lose(self, reason: str) -> None:
        """Give the lease up without a word to the service."""
        self.lost, self.reason = True, reason


class Heartbeats:
    """One thread that beats for every lease held; the last verdict is in its `Holding`.

    A service that is away is asked again at the next beat, for ever: whether the lease is still
    ours is the service's to say, by its token, and not a matter of time. The beats of many workers
    are spread, so that they do not come in step.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._due: dict[Holding, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def add(self, holding: Holding) -> None:
        """Beat for this lease from now on."""
        with self._lock:
            self._due[holding] = _next(holding)

    def drop(self, holding: Holding) -> None:
        """Beat for it no longer."""
        with self._lock:
            self._due.pop(holding, None)

    def beat(self, holding: Holding) -> None:
        """Say once that this lease is still worked on, and take in the answer."""
        if not holding.open or not holding.talking.acquire(blocking=False):
            return  # A report is on its way, which renews the lease too.
        message = Heartbeat(
            token=holding.lease.token, step=holding.step, steps_per_second=holding.steps_per_second
        )
        try:
            holding.hear(self._client.heartbeat(holding.lease.id, message))
        except (LeaseLost, NotFound) as error:
            holding.lose(error.detail)
        except SrtuneError as error:
            silent = time.monotonic() - holding.renewed
            if silent >= holding.told:
                # Each line says twice as long a silence as the one before, or an hour's fill a disk.
                holding.told = 2 * silent
                logger.warning("heartbeat unanswered for %.0f s: %s", silent, error.detail)
        except ValueError as error:
            logger.warning("somebody else than the service answered a heartbeat: %s", error)
        finally:
            holding.talking.release()

    def _run(self) -> None:
        while not self._stop.wait(self._pause()):
            now = time.monotonic()
            with self._lock:
                due = [holding for holding, at in self._due.items() if at <= now]
            for holding in due:
                with trail.on(**holding.who):
                    self.beat(holding)
                with self._lock:
                    if holding in self._due:
                        self._due[holding] = _next(holding)

    def _pause(self) -> float:
        with self._lock:
            first = min(self._due.values(), default=time.monotonic() + 0.5)
        return min(max(first - time.monotonic(), 0.01), 0.5)


def _next(holding: Holding) -> float:
    return time.monotonic() + holding.lease.heartbeat_every * random.uniform(0.8, 1.0)
