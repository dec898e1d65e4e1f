"""Which trials no other trial beats, how far the rest is from that, and one to start with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Values = Sequence[Sequence[float]]


def front(values: Values, directions: Sequence[str]) -> list[int]:
    """Indices of the points no other point dominates, in the order given; equals all stay.

    `values` has one row per trial, one finite number per objective; `directions` say `maximize`
    or `minimize`.
    """
    return [index for index, beaten in enumerate(dominated_by(values, directions)) if not beaten]


def dominated_by(values: Values, directions: Sequence[str]) -> list[int]:
    """For each point, how many others are at least as good everywhere and better somewhere."""
    return [int(count) for count in _dominance(_losses(values, directions)).sum(axis=0)]


def ranks(values: Values, directions: Sequence[str]) -> list[int]:
    """For each point, the front it is on when fronts are peeled off one by one; 0 is the first."""
    losses = _losses(values, directions)
    if len(directions) == 1:  # as many fronts as there are different scores
        return [int(rank) for rank in np.unique(losses[:, 0], return_inverse=True)[1]]
    beats = _dominance(losses)
    found, beaten = np.full(len(beats), -1), beats.sum(axis=0)
    rank = 0
    while (open_ := found < 0).any():
        peeled = np.flatnonzero(open_ & (beaten == 0))
        found[peeled] = rank
        beaten -= beats[peeled].sum(axis=0)
        rank += 1
    return [int(rank) for rank in found]


def knee(values: Values, directions: Sequence[str]) -> int:
    """Index of the front's point nearest to the ideal: the best of each objective at once.

    Distances are Euclidean after each objective is scaled to the front's own range, so its unit
    does not matter. The first of equals wins. ValueError when there is no point.
    """
    members = front(values, directions)
    if not members:
        raise ValueError("there is no point to choose from; wait for a complete trial")
    losses = _losses(values, directions)[members]
    ideal, extent = losses.min(axis=0), np.ptp(losses, axis=0)
    distances = np.linalg.norm((losses - ideal) / np.where(extent > 0, extent, 1.0), axis=1)
    return members[int(np.argmin(distances))]


def hypervolume(values: Values, directions: Sequence[str], reference: Sequence[float]) -> float:
    """Volume between the front and the reference: grows with every point that improves the front.

    In units of the objectives multiplied. Points that do not beat the reference everywhere add
    nothing. By slicing along the last objective (HSO, While et al. 2006): quick for two
    objectives, exponential in their number, fine up to four.
    """
    losses, corner = _losses(values, directions), _losses([reference], directions)[0]
    inside = losses[(losses < corner).all(axis=1)]
    return _volume(inside, corner)


def _volume(losses: np.ndarray, corner: np.ndarray) -> float:
    if not len(losses):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - losses.min())
    losses = losses[np.argsort(losses[:, -1], kind="stable")]
    ends = np.append(losses[1:, -1], corner[-1])
    if len(corner) == 2:  # the common case, without recursion: a staircase
        widths = corner[0] - np.minimum.accumulate(losses[:, 0])
        return float(widths @ (ends - losses[:, 1]))
    depths = ends - losses[:, -1]
    return sum(
        float(depth) * _volume(losses[: place + 1, :-1], corner[:-1])
        for place, depth in enumerate(depths)
        if depth > 0
    )


def _losses(values: Values, directions: Sequence[str]) -> np.ndarray:
    """Rows in which less is better."""
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    return np.asarray(values, float).reshape(-1, len(signs)) * signs


def _dominance(losses: np.ndarray) -> np.ndarray:
    """A square of booleans: row dominates column."""
    no_worse = np.ones((len(losses), len(losses)), bool)
    better = np.zeros_like(no_worse)
    for column in losses.T:  # one objective at a time: two squares in memory, not one per objective
        no_worse &= column[:, None] <= column[None, :]
        better |= column[:, None] < column[None, :]
    return no_worse & better
