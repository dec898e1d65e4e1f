"""Mixtures of Optuna's kernels, drawn from and evaluated for many points at once.

Optuna evaluates every kernel at every point in every coordinate. Here logarithms of all kernels are
one matrix product: a Gaussian's is linear in (x², x, 1), a choice's in its indicator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _BatchedDistributions,
    _BatchedTruncLogNormDistributions,
    _BatchedTruncNormDistributions,
    _MixtureOfProductDistribution,
)

_Numbers = _BatchedTruncNormDistributions | _BatchedTruncLogNormDistributions

# So many kernels times points at once; more would not stay in the processor's cache.
_CELLS = 1 << 20
_EDGE = 2.0**-53
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_erf = np.frompyfunc(math.erf, 1, 1)
_inverse_normal = np.frompyfunc(NormalDist().inv_cdf, 1, 1)


class Kernels:
    """The logarithm of a mixture's density."""

    def __init__(self, mixture: _MixtureOfProductDistribution) -> None:
        self._parts = mixture.distributions
        numbers = [p for p in self._parts if isinstance(p, _Numbers)]
        constant = np.log(mixture.weights) - _log_masses(numbers)
        columns: list[np.ndarray] = []
        for part in self._parts:
            if isinstance(part, _BatchedCategoricalDistributions):
                columns += list(np.log(part.weights).T)
                continue
            mean, width = part.mu, part.sigma
            columns += [-0.5 / width**2, mean / width**2]
            constant = constant - 0.5 * (mean / width) ** 2 - np.log(width) - _HALF_LOG_TWO_PI
        self._coefficients = np.array([*columns, constant])

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """One number per row of `points`, which are in Optuna's internal representation."""
        features = np.column_stack([self._features(points), np.ones(len(points))])
        rows = max(_CELLS // self._coefficients.shape[1], 1)
        pieces = [
            _log_sum_exp(features[start : start + rows] @ self._coefficients)
            for start in range(0, len(points), rows)
        ]
        return np.concatenate(pieces)

    def _features(self, points: np.ndarray) -> np.ndarray:
        columns: list[np.ndarray] = []
        for place, part in enumerate(self._parts):
            x = points[:, place]
            if isinstance(part, _BatchedCategoricalDistributions):
                columns += [x == choice for choice in range(part.weights.shape[1])]
                continue
            x = np.log(x) if part.is_log else x
            columns += [x**2, x]
        return np.column_stack(columns)


def draw(mixture: _MixtureOfProductDistribution, seeds: Sequence[int], count: int) -> np.ndarray:
    """`count` points per seed, in this order; a seed's points do not depend on the others.

    By inversion of the cumulated density, as Optuna draws, but without its iterations in Python.
    """
    parts = mixture.distributions
    numbers = np.concatenate(
        [np.random.default_rng(seed).random((count, 1 + len(parts))) for seed in seeds]
    )
    ends = np.cumsum(mixture.weights)
    kernels = np.searchsorted(ends / ends[-1], numbers[:, 0], side="right")
    columns = [_drawn(part, kernels, numbers[:, 1 + place]) for place, part in enumerate(parts)]
    return np.column_stack(columns)


def _drawn(part: _BatchedDistributions, kernels: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    if isinstance(part, _BatchedCategoricalDistributions):
        ends = np.cumsum(part.weights[kernels], axis=1)[:, :-1]
        choices: np.ndarray = (ends < quantiles[:, None]).sum(axis=1).astype(float)
        return choices
    low, high = part.adapted_low, part.adapted_high
    bottom, top = (_normal_cdf((end - part.mu) / part.sigma)[kernels] for end in (low, high))
    # The mean is inside of the range, so no mass hides in a tail.
    below = np.clip(bottom + quantiles * (top - bottom), _EDGE, 1.0 - _EDGE)
    x = part.mu[kernels] + part.sigma[kernels] * np.asarray(_inverse_normal(below), float)
    x = np.clip(x, low, high)
    drawn: np.ndarray = np.clip(np.exp(x), part.low, part.high) if part.is_log else x
    return drawn


def _log_masses(parts: Sequence[_Numbers]) -> np.ndarray | float:
    """How much of each kernel lies inside of its ranges, as a logarithm."""
    if not parts:
        return 0.0
    # In one go: the error function of few numbers is Python's, of many it is vectorised.
    low, high = (
        np.array([(end - part.mu) / part.sigma for part, end in zip(parts, ends, strict=True)])
        for ends in ([p.adapted_low for p in parts], [p.adapted_high for p in parts])
    )
    masses: np.ndarray = _truncnorm._log_gauss_mass(low, high).sum(axis=0)
    return masses


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    cumulated: np.ndarray = 0.5 * (1.0 + np.asarray(_erf(z / math.sqrt(2.0)), float))
    return cumulated


def _log_sum_exp(logs: np.ndarray) -> np.ndarray:
    most = logs.max(axis=1, keepdims=True)
    np.subtract(logs, most, out=logs)
    np.exp(logs, out=logs)
    summed: np.ndarray = np.log(logs.sum(axis=1)) + most[:, 0]
    return summed
