"""One fit of TPE for many proposals proposes what Optuna would, and stays as good when it is old."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import TrialState, create_trial

from service.tuner import Observation, hypervolume, parzen
from service.tuner.history import ALWAYS, History, View
from service.tuner.mixture import Kernels, draw
from service.tuner.observation import Coordinates

SPACES: list[dict[str, BaseDistribution]] = [
    {"rest.b": FloatDistribution(0.0, 1.0), "rest.a": FloatDistribution(0.0, 1.0)},
    {
        "weight.z": FloatDistribution(1e-4, 10.0, log=True),
        "weight.c": FloatDistribution(1e-2, 1.0, log=True),
        "use.z": CategoricalDistribution(["on", "off"]),
    },
    {"rest.only": FloatDistribution(0.0, 1.0)},
]
SQUARE: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)}
BOTH = ["minimize", "minimize"]


def _point(space: dict[str, BaseDistribution], rng: np.random.Generator) -> Coordinates:
    found: Coordinates = {}
    for name, one in space.items():
        if isinstance(one, FloatDistribution):
            x = rng.uniform(*np.log([one.low, one.high])) if one.log else None
            found[name] = float(rng.uniform(one.low, one.high) if x is None else np.exp(x))
        else:
            found[name] = str(rng.choice(["on", "off"]))
    return found


def _told(
    space: dict[str, BaseDistribution], objectives: int, trials: int, seed: int
) -> list[Observation]:
    """Ends of every kind; scores are rounded, so that some are equal."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(3, trials + 3):
        state: Any = rng.choice(["complete", "pruned", "running"], p=[0.7, 0.2, 0.1])
        values = [float(v) for v in rng.random(objectives).round(int(rng.integers(1, 4)))]
        scores = values if state == "complete" else None
        found.append(Observation(number, _point(space, rng), state, scores))
    return found


def _history(space: dict[str, BaseDistribution], told: list[Observation], objectives: int) -> View:
    history = History(space, objectives)
    for seen in told:
        history.put(seen)
    return history.at(ALWAYS)


@pytest.mark.parametrize("space", SPACES, ids=["shares", "weights", "one"])
@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"], ["minimize"] * 3])
@pytest.mark.parametrize("trials", [4, 30, 140])
def test_a_batch_of_one_is_what_optuna_proposes_bit_for_bit(
    space: dict[str, BaseDistribution], directions: list[Any], trials: int
) -> None:
    states = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "running": TrialState.RUNNING,
    }
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    for seed in range(4):
        told = _told(space, len(directions), trials, seed)
        study = optuna.create_study(directions=directions)
        for seen in told:
            study.add_trial(
                create_trial(
                    state=states[seen.state],
                    params=dict(seen.coordinates or {}),
                    distributions=space,
                    values=seen.values,
                )
            )
        study.sampler = TPESampler(
            seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True
        )
        expected = study.ask(space).params
        view = _history(space, told, len(directions))
        [point] = parzen.propose(view, space, signs, [seed])
        assert History(space, len(directions)).external(point) == expected


@pytest.mark.parametrize("space", SPACES, ids=["shares", "weights", "one"])
def test_kernels_have_the_density_that_optuna_gives_them(
    space: dict[str, BaseDistribution],
) -> None:
    view = _history(space, _told(space, 2, 60, 1), 2)
    rows = np.arange(len(view.numbers))
    estimator = parzen._estimator(view, rows, space, weighted=True)
    drawn = estimator.sample(np.random.RandomState(0), 200)
    points = np.array([drawn[name] for name in view.names]).T
    ours = Kernels(estimator._mixture_distribution).log_density(points)
    assert ours == pytest.approx(estimator.log_pdf(drawn), abs=1e-9)


@pytest.mark.parametrize("space", SPACES, ids=["shares", "weights", "one"])
def test_batches_draw_from_the_same_mixture_as_optuna(space: dict[str, BaseDistribution]) -> None:
    view = _history(space, _told(space, 2, 60, 2), 2)
    rows = np.arange(len(view.numbers))
    estimator: _ParzenEstimator = parzen._estimator(view, rows, space, weighted=True)
    theirs = estimator.sample(np.random.RandomState(0), 6000)
    ours = draw(estimator._mixture_distribution, range(60), 100)
    for place, name in enumerate(view.names):
        edges = np.quantile(theirs[name], np.linspace(0, 1, 21))
        one, other = (
            np.searchsorted(np.sort(side), edges, side="right") / 6000
            for side in (theirs[name], ours[:, place])
        )
        # Twice the distance that two samples of one law keep in 999 of 1,000 cases.
        assert np.abs(one - other).max() < 0.07
        low, high = (getattr(space[name], end, bound) for end, bound in [("low", 0), ("high", 1)])
        assert low <= ours[:, place].min() <= ours[:, place].max() <= high


def test_a_proposal_of_a_batch_depends_on_its_own_seed_alone() -> None:
    view = _history(SQUARE, _told(SQUARE, 2, 60, 3), 2)
    batch = parzen.propose(view, SQUARE, [1.0, 1.0], [5, 6, 7])
    again = parzen.propose(view, SQUARE, [1.0, 1.0], [7, 5])
    assert (batch[[2, 0]] == again).all()
    assert len(np.unique(batch, axis=0)) == 3


def test_thinning_keeps_what_is_good_what_runs_and_always_the_same_rest() -> None:
    told = _told(SQUARE, 2, 400, 4)
    view = _history(SQUARE, told, 2)
    whole = parzen.split(view, [1.0, 1.0])
    thin = parzen.split(view, [1.0, 1.0], kept=50)
    assert (thin.below == whole.below).all()
    running = np.flatnonzero(view.states == 1)
    assert set(running) <= set(thin.above)
    assert set(thin.above) <= set(whole.above)
    assert 50 <= len(thin.above) - len(running) <= 50 + len(thin.below)
    earlier = parzen.split(_history(SQUARE, told[:300], 2), [1.0, 1.0], kept=50)
    dropped = set(whole.above) - set(earlier.above) - set(earlier.below)
    assert not [row for row in dropped & set(thin.above) if row < 300]


def _problem(point: np.ndarray) -> list[float]:
    """Two bowls: the front is the line between their lowest points."""
    near = ((point - [0.2, 0.5, 0.6, 0.3]) ** 2).sum()
    return [float(near), float(((point - [0.8, 0.4, 0.6, 0.3]) ** 2).sum())]


def _searched(seed: int, *, batch: int, kept: int, trials: int = 320) -> float:
    """Hypervolume of a search in batches; the first of them at random."""
    history, rng = History(SQUARE, 2), np.random.default_rng(seed)
    values: list[list[float]] = []
    while len(values) < trials:
        seeds = [1000 * seed + len(values) + place for place in range(batch)]
        points = rng.random((batch, 4))
        if values:
            points = parzen.propose(history.at(ALWAYS), SQUARE, [1, 1], seeds, kept=kept)
        for point in points:
            values.append(_problem(point))
            seen = Observation(len(values), history.external(point), "complete", values[-1])
            history.put(seen)
    return hypervolume(values, BOTH, [1.0, 1.0])


def test_thinning_and_batches_search_as_well() -> None:
    whole = np.mean([_searched(seed, batch=4, kept=10_000) for seed in range(3)])
    thin = np.mean([_searched(seed, batch=4, kept=150) for seed in range(3)])
    batches = np.mean([_searched(seed, batch=16, kept=150) for seed in range(3)])
    at_random = [_problem(point) for point in np.random.default_rng(0).random((320, 4))]
    gained = whole - hypervolume(at_random, BOTH, [1.0, 1.0])
    assert gained > 0.03
    # A twentieth of what the search gains over chance is noise between seeds.
    assert thin > whole - 0.05 * gained
    assert batches > whole - 0.1 * gained
