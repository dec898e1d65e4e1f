"""Carries reports, results and failures to the service, in order, however long it is away."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.client import Client
from service.contract.errors import BlobMismatch, LeaseLost, NotFound, SrtuneError, StorageFull
from service.contract.trial import Verdict
from workers.heartbeat import Holding

logger = logging.getLogger(__name__)

#: Answers of a service that is away or broken, not of one that says no.
_ITS_FAULT = 500
#: So often a service that answers, and answers with a fault of its own, is asked again.
_PATIENCE = 12


@dataclass(eq=False)
class Parcel:
    """One thing to tell the service about a lease, and what became of it."""

    holding: Holding
    upload: Callable[[Client], Callable[[Client], Verdict | None]]
    ends: bool = False  #: the lease is over once this is delivered
    after: Callable[[], None] = lambda: None  #: called once it is delivered, before anyone knows
    delivered: bool = False
    refused: str = ""  #: why the service does not want it; empty while it may still arrive
    full: bool = False  #: refused because the service has no room

    @property
    def settled(self) -> bool:
        """Whether it was delivered, refused, or is of no use any more."""
        return self.delivered or bool(self.refused) or not self.holding.open


class Courier:
    """One thread that delivers parcels one after another, so that training never waits.

    A service that is away is tried again with growing pauses until it is back; only then the next
    parcel has its turn, so that a lease's reports arrive in the order of their steps.
    """

    def __init__(self, client: Client, *, pause: float = 0.2, longest: float = 10.0) -> None:
        self._client = client
        self._pause, self._longest = pause, longest
        self._queue: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

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
        self._queue.put(None)
        self._thread.join(timeout=5)

    def send(self, parcel: Parcel) -> None:
        """Deliver this after everything sent before."""
        self._queue.put(parcel)

    def _run(self) -> None:
        while (parcel := self._queue.get()) is not None and not self._stop.is_set():
            pause, faults = self._pause, 0
            while not parcel.settled and not self._stop.is_set():
                faults += self._deliver(parcel)
                if faults >= _PATIENCE:
                    parcel.holding.lose("the service keeps failing; see its log")
                if not parcel.settled:
                    self._stop.wait(pause * random.uniform(0.5, 1.0))
                    pause = min(2 * pause, self._longest)

    def _deliver(self, parcel: Parcel) -> int:
        """Try once; return 1 if the service answered with a fault of its own."""
        holding = parcel.holding
        try:
            # Bytes first and outside the lock: an upload may take minutes, and beats go on.
            tell = parcel.upload(self._client)
            with holding.talking:
                verdict = tell(self._client)
                parcel.after()
                holding.ended = holding.ended or parcel.ends
                if verdict is not None:
                    holding.hear(verdict)
            parcel.delivered = True
        except (LeaseLost, NotFound) as error:
            holding.lose(error.detail)
        except StorageFull as error:
            parcel.full, parcel.refused = True, error.detail
        except BlobMismatch as error:
            logger.warning("upload was damaged on its way: %s", error.detail)
            return 1
        except SrtuneError as error:
            if error.status < _ITS_FAULT:
                parcel.refused = error.detail
            else:
                logger.warning("not delivered yet: %s", error.detail)
                return int(error.status == _ITS_FAULT)
        except (OSError, ValueError) as error:
            # Its file went with the trial, or somebody else than the service answered.
            if not parcel.settled:
                logger.warning("not delivered: %s", error)
            return 1
        return 0
