"""How far an early ranking can be believed: rank correlation of rungs with the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from service.contract.trial import Metrics, Transfer

#: Two ranks always agree or disagree; from three on a correlation says something.
LEAST_TRIALS = 3


def transfer(
    rungs: Mapping[int, Mapping[int, Metrics]],
    finals: Mapping[int, Metrics],
    objectives: Sequence[str],
    *,
    steps: Iterable[int],
) -> list[Transfer]:
    """Spearman's ρ between each rung of `steps` and the end, per objective.

    `rungs` maps trial number → step → metrics, `finals` trial number → metrics of the complete
    trials; only trials with both count. None where fewer than three do, or where one side is
    constant.
    """
    found = []
    for step in steps:
        both = [number for number in sorted(finals) if step in rungs.get(number, {})]
        correlation = {
            name: _spearman(
                [
                    (rungs[number][step][name], finals[number][name])
                    for number in both
                    if name in rungs[number][step] and name in finals[number]
                ]
            )
            for name in objectives
        }
        found.append(Transfer(step=step, trials=len(both), correlation=correlation))
    return found


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's correlation of average ranks, in [-1, 1]."""
    if len(pairs) < LEAST_TRIALS:
        return None
    early, late = (_average_ranks(side) for side in zip(*pairs, strict=True))
    early, late = early - early.mean(), late - late.mean()
    scale = float(np.sqrt((early @ early) * (late @ late)))
    if scale == 0.0:
        return None
    return min(max(float(early @ late) / scale, -1.0), 1.0)


def _average_ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1; equal values share the mean of the ranks they take up."""
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: np.ndarray = (ends - counts + 1 + ends) / 2
    return means[places]
