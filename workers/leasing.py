"""How a worker asks for trials: each request under one name until it is answered, at the service's pace."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Sequence

from service.client import Client
from service.contract.errors import SrtuneError
from service.contract.trial import Lease, LeaseRequest
from service.contract.worker import Registered
from workers.again import Pauses, worth_asking_again

logger = logging.getLogger(__name__)


class Leasing:
    """Asks for trials. A service that is away is asked again with growing, jittered pauses.

    An answer may be lost after the service has leased trials to us. The repeat carries the same
    word, and gets those trials, which would else wait for a worker that does not know of them.
    """

    def __init__(self, client: Client, *, pause: float = 0.5, longest: float = 30.0) -> None:
        self._client = client
        self._pauses = Pauses(pause, longest)
        self._word = ""  #: of the request that is not answered yet
        self._ask_at = 0.0

    @property
    def due(self) -> bool:
        """Whether the service wants to be asked by now."""
        return time.monotonic() >= self._ask_at

    def ask(self, worker: Registered, room: int, cached: Sequence[str]) -> list[Lease]:
        """Up to `room` trials; none while there are none, or nobody answers.

        `cached` are studies that would begin sooner here. Raises the service's errors that asking
        again will not cure, WorkerNotFound among them.
        """
        self._word = self._word or secrets.token_hex(8)
        request = LeaseRequest(
            worker=worker.id, capacity=room, request=self._word, cached=list(cached)
        )
        try:
            leases = self._client.lease(request)
        except SrtuneError as error:
            if not worth_asking_again(error):
                self._word = ""
                raise
            self._wait(error.detail)
            return []
        except ValueError as error:
            self._wait(f"somebody else than the service answered ({error})")
            return []
        self._word = ""
        self._pauses.reset()
        if not leases:
            told = self._client.poll_after
            own = worker.poll_every * random.uniform(0.75, 1.25)
            self._ask_at = time.monotonic() + (own if told is None else told)
        return leases

    def _wait(self, reason: str) -> None:
        pause = self._pauses.next()
        self._ask_at = time.monotonic() + pause
        logger.warning("no trials to be had: %s; asking again in %.1f s", reason, pause)
