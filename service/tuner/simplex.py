"""Shares with bounds, as points of a unit cube and back, without favouring any of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Sums and bounds may be off by rounding: shares are sums of products of measured norms.
SLACK = 1e-9
_HALVINGS = 64


class BoundedSimplex:
    """The set of n shares that add up to 1, each within its [low, high].

    n - 1 uniform numbers give a point that is uniform on the set, which without bounds is
    Dirichlet(1, …, 1). Each number says how much is left for the later shares, as a quantile: the
    volume of the rest is a signed sum of truncated powers over subsets of the widths, so its
    distribution function is exact; it costs 2^(bounds that can bind) powers.

    Raises ValueError when no point fits the bounds.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        above, below = 1.0 - sum(low), sum(high) - 1.0
        if above < -SLACK or below < -SLACK:
            raise ValueError(
                f"shares within {list(zip(low, high, strict=True))} cannot add up to 1"
            )
        # From the nearer corner the truncated powers cancel least.
        self._mirrored = below < above
        self._low, self._high = np.asarray(low, float), np.asarray(high, float)
        self._widths = [float(width) for width in self._high - self._low]
        self._total = max(min(above, below), 0.0)
        self._later = [
            _truncations(self._widths[place + 1 :], self._total)
            for place in range(len(self._widths) - 1)
        ]

    def shares(self, quantiles: Sequence[float]) -> list[float]:
        """The n shares at these n - 1 numbers in [0, 1]."""
        row: list[float] = self.all_shares(np.asarray([quantiles], float))[0].tolist()
        return row

    def all_shares(self, quantiles: np.ndarray) -> np.ndarray:
        """`shares` of every row at once; many cost little more than one."""
        left, taken = np.full(len(quantiles), self._total), []
        for place in range(quantiles.shape[1]):
            least, most = self._left_range(place, left)
            rest = self._quantile(place, quantiles[:, place], least, most)
            taken.append(left - rest)
            left = rest
        return self._shifted(np.stack([*taken, left], axis=1))

    def quantiles(self, shares: Sequence[float]) -> list[float] | None:
        """The n - 1 numbers that give these n shares; None when the shares break a bound."""
        given = np.asarray(shares, float)
        if abs(given.sum() - 1.0) > SLACK or not self._holds(given):
            return None
        taken = self._high - given if self._mirrored else given - self._low
        left, found = np.full(1, self._total), []
        for place, part in enumerate(taken[:-1]):
            least, most = self._left_range(place, left)
            rest = np.clip(left - part, least, most)
            ends = (self._volume(place, end)[0] for end in (least, rest, most))
            bottom, middle, top = (float(volume) for volume in ends)
            found.append(0.5 if top <= bottom else (middle - bottom) / (top - bottom))
            left = rest
        return [min(max(quantile, 0.0), 1.0) for quantile in found]

    def _holds(self, shares: np.ndarray) -> bool:
        inside = (shares >= self._low - SLACK) & (shares <= self._high + SLACK)
        return bool(inside.all())

    def _shifted(self, taken: np.ndarray) -> np.ndarray:
        shares = self._high - taken if self._mirrored else self._low + taken
        clipped: np.ndarray = np.clip(shares, self._low, self._high)
        return clipped

    def _left_range(self, place: int, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What may be left for the later shares once this one is taken."""
        least = np.maximum(left - self._widths[place], 0.0)
        most = np.minimum(left, sum(self._widths[place + 1 :]))
        return np.minimum(least, most), most

    def _volume(self, place: int, left: np.ndarray) -> np.ndarray:
        """Grows with the chance that at most `left` is left after this share."""
        sums, signs = self._later[place]
        power = len(self._widths) - 1 - place
        volume: np.ndarray = np.maximum(left[:, None] - sums, 0.0) ** power @ signs
        return volume

    def _quantile(
        self, place: int, quantile: np.ndarray, least: np.ndarray, most: np.ndarray
    ) -> np.ndarray:
        bottom, top = self._volume(place, least), self._volume(place, most)
        wanted = bottom + quantile * (top - bottom)
        if len(self._later[place][0]) == 1:  # no bound can bind: a power, which has an inverse
            power = len(self._widths) - 1 - place
            root: np.ndarray = np.clip(wanted ** (1.0 / power), least, most)
            return root
        for _ in range(_HALVINGS):
            middle = (least + most) / 2
            beyond = self._volume(place, middle) < wanted
            least, most = np.where(beyond, middle, least), np.where(beyond, most, middle)
        halved: np.ndarray = (least + most) / 2
        return halved


def _truncations(widths: Sequence[float], total: float) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the subsets of the widths below the total, each with (-1)^size."""
    sums, signs = np.zeros(1), np.ones(1)
    for width in widths:
        sums, signs = np.concatenate([sums, sums + width]), np.concatenate([signs, -signs])
        near = sums < total
        sums, signs = sums[near], signs[near]
    return (sums, signs) if len(sums) else (np.zeros(1), np.ones(1))
