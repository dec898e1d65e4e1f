"""Optuna's TPE, with many proposals from one fit.

`TPESampler` splits the history, builds two Parzen estimators and throws them away after one
proposal: 10 ms at 1,000 trials and 40 ms at 5,000. Here a batch shares them. A batch of one is what
`TPESampler(multivariate=True, constant_liar=True)` proposes, bit for bit, because split, estimators
and draws are its own functions; they are underscored, hence the pinned version of Optuna.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna._hypervolume.hssp import _solve_hssp
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import (
    _get_reference_point,
    default_gamma,
    default_gamma_multiobjective,
    default_weights,
)
from optuna.study._multi_objective import _fast_non_domination_rank

from service.tuner.history import COMPLETE, PRUNED, RUNNING, View
from service.tuner.mixture import Kernels, draw

_CANDIDATES = 24
_PARAMETERS = _ParzenEstimatorParameters(
    prior_weight=1.0,
    consider_magic_clip=True,
    consider_endpoints=False,
    weights=default_weights,
    multivariate=True,
)
#: Trials that are neither good nor on the front, and still kept. The more there are the less each
#: says about where not to look, while every candidate has to be compared with every one of them:
#: without a limit a proposal costs time in proportion to the study's age.
KEPT_ABOVE = 1500
#: Trials worth coming near to, at most: Optuna's tenth of all, up to 10,000 trials.
_MOST_BELOW = 1000


@dataclass(frozen=True)
class Split:
    """Rows of a view, in order of their numbers: worth coming near to, and the rest."""

    below: np.ndarray
    above: np.ndarray


def propose(
    view: View,
    distributions: dict[str, BaseDistribution],
    signs: Sequence[float],
    seeds: Sequence[int],
    *,
    kept: int = KEPT_ABOVE,
) -> np.ndarray:
    """One point per seed, as rows of Optuna's internal representation, columns by `view.names`.

    `signs` are -1 for objectives to maximise, else 1. Points of one call do not know of each other.
    """
    parted = split(view, signs, kept=kept)
    below = _estimator(view, parted.below, distributions, weighted=len(signs) == 1)
    above = _estimator(view, parted.above, distributions, weighted=True)
    if len(seeds) == 1:
        drawn = below.sample(np.random.RandomState(seeds[0]), _CANDIDATES)
        candidates = np.array([drawn[name] for name in view.names]).T
    else:
        candidates = draw(below._mixture_distribution, seeds, _CANDIDATES)
    good, poor = (Kernels(one._mixture_distribution) for one in (below, above))
    gain = (good.log_density(candidates) - poor.log_density(candidates)).reshape(-1, _CANDIDATES)
    best = np.arange(len(seeds)) * _CANDIDATES + gain.argmax(axis=1)
    chosen: np.ndarray = candidates[best]
    return chosen


def split(view: View, signs: Sequence[float], *, kept: int = KEPT_ABOVE) -> Split:
    """The view's rows as `TPESampler` divides them; of many that are above, a sample.

    Pruned trials come after complete ones, running ones are above: nobody should go there again.
    """
    complete, pruned, running = (
        np.flatnonzero(view.states == code) for code in (COMPLETE, PRUNED, RUNNING)
    )
    finished = len(complete) + len(pruned)
    gamma = default_gamma if len(signs) == 1 else default_gamma_multiobjective
    wanted = min(gamma(finished), _MOST_BELOW)
    losses = view.values[complete] * np.asarray(signs)
    chosen, front = _best(losses, min(wanted, len(complete)))
    spare = max(wanted - len(complete), 0)
    below = np.sort(np.concatenate([complete[chosen], pruned[:spare]]))
    rest = np.setdiff1d(np.concatenate([complete, pruned]), below, assume_unique=True)
    above = _sampled(view, rest, complete[front], kept)
    return Split(below, np.sort(np.concatenate([above, running])))


def _best(losses: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the `wanted` best rows, and of those on the front."""
    everything = np.arange(len(losses))
    if wanted == 0:
        return everything[:0], everything[:0]
    if losses.shape[1] == 1:
        order = np.argsort(losses[:, 0], kind="stable")
        return order[:wanted], order[:1]
    ranks = _fast_non_domination_rank(losses, n_below=wanted)
    front = everything[ranks == 0]
    if wanted == len(losses):
        return everything, front
    found, counts = np.unique(ranks, return_counts=True)
    last = int(np.max(found[np.cumsum(counts) <= wanted], initial=-1))
    best = everything[ranks <= last]
    if len(best) < wanted:  # the rank that would overflow gives those that span most volume
        tied = everything[ranks == last + 1]
        reference = _get_reference_point(losses[tied])
        best = np.append(best, _solve_hssp(losses[tied], tied, wanted - len(best), reference))
    return best, front


def _sampled(view: View, rows: np.ndarray, front: np.ndarray, kept: int) -> np.ndarray:
    """At most `kept` of these rows beside those on the front, always the same ones.

    Chosen by a hash of the number: no rhythm of the study's can fall in with it, and a trial once
    dropped stays dropped as others join, so that proposals do not jump.
    """
    if len(rows) <= kept:
        return rows
    hashed = (view.numbers[rows].astype(np.uint64) * np.uint64(2654435761)) % np.uint64(1 << 32)
    least = rows[np.argsort(hashed, kind="stable")[:kept]]
    return np.union1d(least, np.intersect1d(rows, front))


def _estimator(
    view: View, rows: np.ndarray, distributions: dict[str, BaseDistribution], *, weighted: bool
) -> _ParzenEstimator:
    """Kernels at these rows; `weighted` lets those long ago count less."""
    return _ParzenEstimator(
        {name: view.points[rows, place] for place, name in enumerate(view.names)},
        {name: distributions[name] for name in view.names},
        _PARAMETERS,
        None if weighted else np.ones(len(rows)),
    )
