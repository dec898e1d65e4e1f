"""Asking the service again: after which answers, and after how long."""

from __future__ import annotations

import random

from service.contract.errors import SrtuneError

#: Answers below 500 that the same request may not get again: too slow, too early, too many.
_PASSING = frozenset({408, 425, 429})
_SERVER_FAULT = 500


def worth_asking_again(error: SrtuneError) -> bool:
    """Whether the service was away, broken or busy, rather than said no."""
    return error.status >= _SERVER_FAULT or error.status in _PASSING


class Pauses:
    """Seconds to wait before each further try: doubling up to `longest`, and never the same twice.

    A service that comes back would be struck down by all its workers if they waited in step.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._now = first

    def next(self) -> float:
        """The next pause, between half of what is due and all of it."""
        due, self._now = self._now, min(2 * self._now, self._longest)
        return due * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with `first` again: somebody answered."""
        self._now = self._first
