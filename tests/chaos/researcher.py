"""A person who submits studies in the middle of it all, and asks again until told they are there."""

from __future__ import annotations

import threading
from typing import Any

from service.client import Client
from service.contract.errors import SrtuneError
from tests.chaos.work import numbers

_PAUSE = 0.5
_SERVER_FAULT = 500


class Researcher(threading.Thread):
    """Submits a study of so many trials every so many seconds, each under a key of its own."""

    def __init__(self, client: Client, *, every: float, trials: int) -> None:
        super().__init__(name="researcher", daemon=True)
        self._client, self._every, self._trials = client, every, trials
        self._ending = threading.Event()
        self.submitted: list[str] = []

    def run(self) -> None:
        number = 0
        with self._client:
            while not self._ending.wait(self._every):
                number += 1
                definition = numbers(f"more {number}", trials=self._trials, sampler="random")
                self._submit(definition, f"key of more {number}")

    def end(self) -> None:
        self._ending.set()
        self.join(30)

    def _submit(self, definition: dict[str, Any], key: str) -> None:
        while True:
            try:
                self.submitted.append(self._client.submit(definition, key=key).id)
            except SrtuneError as error:
                if error.status < _SERVER_FAULT:
                    raise
                if self._ending.wait(_PAUSE):
                    return
            else:
                return
