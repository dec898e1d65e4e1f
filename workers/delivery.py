"""Carries reports, results and failures to the service, in order, however long it is away."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from service import trail
from service.client import Client
from service.contract.errors import BlobMismatch, LeaseLost, NotFound, SrtuneError, StorageFull
from service.contract.trial import Checkpoint, Lease, Metrics, Report, Rung, Verdict
from workers.again import Pauses, worth_asking_again
from workers.heartbeat import Holding

logger = logging.getLogger(__name__)

#: What the service answers with when it has a fault of its own, and is there.
_FAULT = 500
#: So often a service that answers, and answers with a fault of its own, is asked again.
_PATIENCE = 12


#: Most rungs that one report tells of.
_MOST_RUNGS = 1000

Tell: TypeAlias = Callable[[Client], Verdict | None]
#: Brings bytes to the service, and returns what is then left to say.
Upload: TypeAlias = Callable[[Client], Tell]


@dataclass(frozen=True)
class News:
    """Scores at a step (none between rungs), and the checkpoint that belongs to them."""

    step: int
    metrics: Metrics
    checkpoint: Path


def report(lease: Lease, news: Sequence[News]) -> Upload:
    """Tell of several steps in one report; only the newest checkpoint is of use, and travels."""
    *before, last = news
    earlier = [Rung(step=each.step, metrics=each.metrics) for each in before if each.metrics]

    def upload(client: Client) -> Tell:
        checkpoint = Checkpoint(blob=client.put_blob(last.checkpoint), step=last.step)
        message = Report(
            token=lease.token,
            step=last.step,
            metrics=last.metrics,
            checkpoint=checkpoint,
            earlier=earlier,
        )
        return lambda client: client.report(lease.id, message)

    return upload


@dataclass(eq=False)
class Parcel:
    """One thing to tell the service about a lease, and what became of it."""

    holding: Holding
    upload: Upload
    news: News | None = None  #: of a report, which may go together with those before and after it
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
    parcel has its turn, so that a lease's reports arrive in the order of their steps. Reports of a
    lease that have piled up by then go as one.
    """

    def __init__(self, client: Client, *, pause: float = 0.2, longest: float = 10.0) -> None:
        self._client = client
        self._pause, self._longest = pause, longest
        self._waiting: deque[Parcel] = deque()
        self._news = threading.Condition()
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
        with self._news:
            self._news.notify()
        self._thread.join(timeout=3)

    def send(self, parcel: Parcel) -> None:
        """Deliver this after everything sent before."""
        with self._news:
            self._waiting.append(parcel)
            self._news.notify()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._stop.is_set())
            pauses, faults = Pauses(self._pause, self._longest), 0
            while (load := self._load()) and not self._stop.is_set():
                with trail.on(**load[0].holding.who):
                    faults += self._deliver(load)
                if faults >= _PATIENCE:
                    load[0].holding.lose("the service keeps failing; see its log")
                if load[0].settled:
                    break
                self._stop.wait(pauses.next())

    def _load(self) -> list[Parcel]:
        """What goes next: the oldest parcel, with the reports of its lease that follow it."""
        with self._news:
            while self._waiting and self._waiting[0].settled:
                self._waiting.popleft()
            if not self._waiting:
                return []
            load, first = [self._waiting[0]], self._waiting[0]
            for parcel in list(self._waiting)[1:]:
                if first.news is None or len(load) == _MOST_RUNGS:
                    break
                if parcel.holding is first.holding:
                    if parcel.news is None:
                        break
                    load.append(parcel)
            return load

    def _deliver(self, load: Sequence[Parcel]) -> int:
        """Try once; return 1 if the service answered with a fault of its own."""
        try:
            self._hand_over(load)
        except SrtuneError as error:
            return _take_in(load, error)
        except (OSError, ValueError) as error:
            # Its file went with the trial, or somebody else than the service answered.
            if not load[0].settled:
                logger.warning("not delivered: %s", error)
            return 1
        return 0

    def _hand_over(self, load: Sequence[Parcel]) -> None:
        holding = load[0].holding
        # Bytes first and outside the lock: an upload may take minutes, and beats go on.
        tell = _upload(load)(self._client)
        with holding.talking:
            verdict = tell(self._client)
            for parcel in load:
                parcel.after()
            holding.ended = holding.ended or load[0].ends
            if verdict is not None:
                holding.hear(verdict)
        for parcel in load:
            parcel.delivered = True


def _take_in(load: Sequence[Parcel], error: SrtuneError) -> int:
    """What an error means for a load; 1 if it is a fault of the service's own."""
    if isinstance(error, LeaseLost | NotFound):
        load[0].holding.lose(error.detail)
        return 0
    if isinstance(error, BlobMismatch):
        logger.warning("upload was damaged on its way: %s", error.detail)
        return 1
    if isinstance(error, StorageFull) or not worth_asking_again(error):
        for parcel in load:
            parcel.full, parcel.refused = isinstance(error, StorageFull), error.detail
        return 0
    logger.warning("not delivered yet: %s", error.detail)
    return int(error.status == _FAULT)


def _upload(load: Sequence[Parcel]) -> Upload:
    news = [parcel.news for parcel in load if parcel.news is not None]
    return report(load[0].holding.lease, news) if len(news) > 1 else load[0].upload
