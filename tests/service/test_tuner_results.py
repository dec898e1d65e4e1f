"""Fronts, rank transfer, pruning and importance, against what others compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study import StudyDirection, create_study
from optuna.trial import create_trial

from service.contract.study import Data, Model, Pruning, StudyDefinition, Term, Training
from service.contract.trial import Metrics
from service.contract.vocabulary import LossInfo, MetricInfo, Side, Vocabulary
from service.tuner import (
    Observation,
    decide,
    dominated_by,
    front,
    hypervolume,
    importance,
    knee,
    ranks,
    transfer,
)

FAMILIES = {"l1": "pixel", "charbonnier": "pixel"}


def _loss(name: str, side: Side) -> LossInfo:
    return LossInfo(
        name=name, family=FAMILIES.get(name, name), summary="", side=side, share=(0.0, 1.0)
    )


VOCABULARY = Vocabulary(
    losses={
        "l1": _loss("l1", "distortion"),
        "content": _loss("content", "perception"),
        "gan": _loss("gan", "perception"),
    },
    metrics={
        "psnr_y": MetricInfo(name="psnr_y", summary="", direction="maximize", side="distortion"),
        "mdsi": MetricInfo(name="mdsi", summary="", direction="minimize", side="perception"),
    },
)
BOTH = ["maximize", "minimize"]
small = st.integers(0, 6).map(float)
points = st.lists(st.tuples(small, small), min_size=1, max_size=20)


def _study(**pruning: Any) -> StudyDefinition:
    return StudyDefinition(
        name="s",
        data=Data(train=["a"], validation=["b"]),
        model=Model(name="espcn"),
        losses=[Term(loss="l1"), Term(loss="content"), Term(loss="gan")],
        objectives=["psnr_y", "mdsi"],
        training=Training(steps=100, rungs=[0.25, 0.5]),
        pruning=Pruning(**pruning),
    )


@settings(deadline=None)
@given(points)
def test_the_front_is_the_one_optuna_finds(values: list[tuple[float, float]]) -> None:
    study = create_study(directions=[StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE])
    for row in values:
        study.add_trial(create_trial(values=list(row)))
    theirs = {trial.number for trial in study.best_trials}
    assert set(front(values, BOTH)) == theirs
    assert {i for i, rank in enumerate(ranks(values, BOTH)) if rank == 0} == theirs


@settings(deadline=None)
@given(points)
def test_a_dominated_point_is_on_a_later_front_than_whoever_beats_it(
    values: list[tuple[float, float]],
) -> None:
    depth, beaten = ranks(values, BOTH), dominated_by(values, BOTH)
    for i, (psnr, mdsi) in enumerate(values):
        better = [
            j
            for j, (p, m) in enumerate(values)
            if p >= psnr and m <= mdsi and (p, m) != (psnr, mdsi)
        ]
        assert beaten[i] == len(better)
        assert depth[i] == max((depth[j] + 1 for j in better), default=0)


def test_directions_are_minded() -> None:
    values = [[30.0, 0.3], [31.0, 0.2], [29.0, 0.1]]
    assert front(values, BOTH) == [1, 2]
    assert front(values, ["minimize", "minimize"]) == [2]


def test_the_knee_is_nearest_to_the_ideal_whatever_the_units() -> None:
    values = [[30.0, 0.30], [29.8, 0.15], [28.0, 0.10], [27.0, 0.40]]
    assert knee(values, BOTH) == 1
    assert knee([[psnr * 1000, mdsi] for psnr, mdsi in values], BOTH) == 1
    assert knee([[30.0, 0.3]], BOTH) == 0
    with pytest.raises(ValueError, match="wait for a complete trial"):
        knee([], BOTH)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_hypervolume_is_the_share_of_random_points_the_front_beats(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    values = rng.random((12, objectives))
    shots = rng.random((200_000, objectives))
    hit = np.zeros(len(shots), bool)
    for row in values:
        hit |= (shots >= row).all(axis=1)
    ours = hypervolume(values.tolist(), ["minimize"] * objectives, [1.0] * objectives)
    assert ours == pytest.approx(hit.mean(), abs=0.006)


def test_hypervolume_of_a_staircase_is_its_area() -> None:
    values = [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [9.0, 9.0], [2.0, 2.5]]
    assert hypervolume(values, ["minimize", "minimize"], [4.0, 4.0]) == 6.0
    mirrored = [[-x, y] for x, y in values]
    assert hypervolume(mirrored, BOTH, [-4.0, 4.0]) == 6.0
    assert hypervolume([], BOTH, [0.0, 1.0]) == 0.0


def _pairs(early: list[float], late: list[float]) -> list[float | None]:
    rungs: dict[int, dict[int, Metrics]] = {n: {50: {"psnr_y": v}} for n, v in enumerate(early)}
    finals: dict[int, Metrics] = {n: {"psnr_y": v} for n, v in enumerate(late)}
    return [t.correlation["psnr_y"] for t in transfer(rungs, finals, ["psnr_y"], steps=[50])]


def test_rank_correlation_is_that_of_the_textbook() -> None:
    # Wikipedia, "Spearman's rank correlation coefficient": IQ against hours of television.
    iq = [106.0, 100.0, 86.0, 101.0, 99.0, 103.0, 97.0, 113.0, 112.0, 110.0]
    hours = [7.0, 27.0, 2.0, 50.0, 28.0, 29.0, 20.0, 12.0, 6.0, 17.0]
    assert _pairs(iq, hours) == [pytest.approx(-29 / 165)]


def test_ties_share_their_ranks() -> None:
    # The figure is what `spearmanr` of scipy 1.17 gives for these two lists.
    assert _pairs([1, 2, 2, 4, 5], [2, 1, 3, 3, 7]) == [pytest.approx(0.7631578947368421)]


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50).map(float), min_size=3, max_size=15, unique=True))
def test_only_ranks_matter(early: list[float]) -> None:
    assert _pairs(early, [np.arctan(v) for v in early]) == [pytest.approx(1.0)]
    assert _pairs(early, [-(v**3) for v in early]) == [pytest.approx(-1.0)]


@pytest.mark.parametrize("late", [[1.0, 2.0], [1.0, 1.0, 1.0]], ids=["two trials", "constant"])
def test_there_is_no_correlation_where_nothing_can_be_told(late: list[float]) -> None:
    assert _pairs([1.0, 2.0, 3.0], late) == [None]


def test_trials_without_the_rung_do_not_count() -> None:
    rungs: dict[int, dict[int, Metrics]] = {1: {25: {"psnr_y": 1.0}}, 2: {}, 3: {50: {}}}
    finals: dict[int, Metrics] = {1: {"psnr_y": 1.0}, 2: {"psnr_y": 2.0}, 4: {"psnr_y": 1.0}}
    found = transfer(rungs, finals, ["psnr_y"], steps=[25, 50])
    assert [(t.step, t.trials) for t in found] == [(25, 1), (50, 0)]


def _history(*, agree: bool = True) -> tuple[dict[int, dict[int, Metrics]], dict[int, Metrics]]:
    """Eight complete trials, each worse than the one before; at the end too, if they agree."""
    scores: dict[int, Metrics] = {n: {"psnr_y": 40.0 - n, "mdsi": 0.1 * n} for n in range(1, 9)}
    ends = scores if agree else {n: scores[9 - n] for n in scores}
    return {n: {50: score} for n, score in scores.items()}, dict(ends)


def _decide(
    metrics: Metrics, *, step: int = 50, agree: bool = True, **pruning: Any
) -> tuple[bool, str]:
    rungs, finals = _history(agree=agree)
    rungs[20] = {step: metrics}
    decision = decide(
        _study(**pruning), VOCABULARY, number=20, step=step, rungs=rungs, finals=finals
    )
    return decision.prune, decision.reason


LAGGING: Metrics = {"psnr_y": 20.0, "mdsi": 0.9}


def test_a_trial_behind_half_of_the_others_stops_where_rungs_tell() -> None:
    prune, reason = _decide(LAGGING)
    assert prune
    assert reason == (
        "8 of 9 trials are on better fronts at step 50, only 5 go on, "
        "and ranks here agree with the end by ρ ≥ 1.00 over 8 trials"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"agree": False}, "ρ = -1.00, below 0.70"),
        ({"trials": 9}, "8 complete trials have a score at step 50, and pruning needs 9"),
        ({"step": 25}, "no pruning before step 50"),
        ({"after": 0.25, "step": 25}, "0 complete trials have a score at step 25"),
        ({"method": "none"}, "does not prune"),
        ({"keep": 0.9}, "9 go on"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_lagging_trial_goes_on_when(change: dict[str, Any], sentence: str) -> None:
    prune, reason = _decide(LAGGING, **change)
    assert not prune
    assert sentence in reason


@pytest.mark.parametrize(
    "metrics",
    [{"psnr_y": 0.0, "mdsi": 0.05}, {"psnr_y": 99.0, "mdsi": 9.0}],
    ids=["the best in perception", "the best in distortion"],
)
def test_whoever_is_on_the_front_of_a_rung_goes_on(metrics: Metrics) -> None:
    assert not _decide(metrics, keep=0.0)[0]


def test_equals_on_a_front_go_on_together() -> None:
    median: Metrics = {"psnr_y": 36.0, "mdsi": 0.1 * 4}  # with trial 4, at the fourth of 8 places
    assert not _decide(median, keep=0.4)[0]
    assert _decide(median | {"psnr_y": 35.9}, keep=0.4)[0]


def _observations(trials: int) -> list[Observation]:
    rng = np.random.default_rng(1)
    found = []
    for number in range(trials):
        l1, content, gan = (float(s) for s in rng.dirichlet(np.ones(3)))
        scores = [30 - 5 * abs(content - 0.3), float(rng.random())]
        shares = {"l1": l1, "content": content, "gan": gan}
        found.append(Observation(number, None, "complete", scores, shares))
    return found


def test_importance_names_the_term_that_decides() -> None:
    found = importance(_study(), VOCABULARY, _observations(120))
    assert [entry.objective for entry in found] == ["psnr_y", "mdsi"]
    decided = found[0].terms
    assert list(decided) == ["l1", "content", "gan"]
    assert sum(decided.values()) == pytest.approx(1.0)
    assert decided["content"] > 0.6


def test_importance_needs_eight_complete_trials() -> None:
    running = [Observation(100 + n, None, "running") for n in range(8)]
    assert importance(_study(), VOCABULARY, [*_observations(7), *running]) == []
    assert len(importance(_study(), VOCABULARY, [*_observations(8), *running])) == 2


def test_importance_reads_shares_off_coordinates() -> None:
    rng = np.random.default_rng(2)
    seen = []
    for number in range(60):
        rest = float(rng.random())  # what is left beside l1
        coordinates: dict[str, float | str] = {
            "rest.l1": rest,
            "rest.content": float(rng.random()),
        }
        seen.append(Observation(number, coordinates, "complete", [-rest, 0.0]))
    found = importance(_study(), VOCABULARY, seen)
    assert max(found[0].terms, key=found[0].terms.__getitem__) == "l1"
    assert set(found[1].terms.values()) == {0.0}  # a constant objective is decided by nothing
