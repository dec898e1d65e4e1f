"""Shares ⇄ coordinates ⇄ weights, against distributions and volumes known from elsewhere."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.errors import InvalidRequest
from service.contract.study import Data, Model, Search, StudyDefinition, Term
from service.contract.trial import Calibration
from service.contract.vocabulary import LossInfo, Side, Vocabulary
from service.tuner import Space, UnusableCalibration, check_space
from service.tuner.simplex import BoundedSimplex

NORMS = {"l1": 0.022, "ssim": 0.27, "edge": 0.064, "fft": 0.0079, "gan": 0.36}


FAMILIES = {"l1": "pixel", "charbonnier": "pixel"}


def _loss(name: str, side: Side, share: tuple[float, float]) -> LossInfo:
    return LossInfo(name=name, family=FAMILIES.get(name, name), summary="", side=side, share=share)


VOCABULARY = Vocabulary(
    losses={
        "l1": _loss("l1", "distortion", (0.0, 1.0)),
        "ssim": _loss("ssim", "distortion", (0.0, 1.0)),
        "edge": _loss("edge", "distortion", (0.0, 1.0)),
        "fft": _loss("fft", "distortion", (0.0, 1.0)),
        "gan": _loss("gan", "perception", (0.0, 1.0)),
    }
)


def _study(*terms: Term, space: Literal["shares", "weights"] = "shares") -> StudyDefinition:
    return StudyDefinition(
        name="s",
        data=Data(train=["a"], validation=["b"]),
        model=Model(name="espcn"),
        losses=list(terms),
        search=Search(space=space),
    )


def _space(*terms: Term, **options: Any) -> Space:
    calibration = Calibration(norms=NORMS, values={}, batches=1)
    return Space(_study(*terms, **options), VOCABULARY, calibration)


THREE = (Term(loss="gan"), Term(loss="l1"), Term(loss="edge"))
BOUNDED = (
    Term(loss="l1", share=(0.1, 0.6)),
    Term(loss="gan", share=(0.0, 0.5), optional=True),
    Term(loss="edge", share=(0.02, 0.3)),
    Term(loss="ssim", share=(0.0, 0.7)),
)
unit = st.floats(0.0, 1.0)


def _distance(sample: np.ndarray, cumulative: np.ndarray) -> float:
    """Kolmogorov and Smirnov's D of a sorted sample, given the exact CDF at its values."""
    steps = np.arange(len(sample) + 1) / len(sample)
    return float(max((steps[1:] - cumulative).max(), (cumulative - steps[:-1]).max()))


@pytest.mark.parametrize("terms", [3, 5])
def test_uniform_coordinates_give_the_uniform_distribution_on_the_simplex(terms: int) -> None:
    study = _space(*(Term(loss=name) for name in list(NORMS)[:terms]))
    rng = np.random.default_rng(7)
    simplex = BoundedSimplex([0.0] * terms, [1.0] * terms)
    drawn = np.array([simplex.shares(list(row)) for row in rng.random((2000, terms - 1))])
    assert len(study.distributions()) == terms - 1
    for column in np.sort(drawn, axis=0).T:
        exact = 1 - (1 - column) ** (terms - 1)  # Beta(1, T-1), the marginal of Dirichlet(1, …, 1)
        assert _distance(column, exact) < 1.95 / np.sqrt(len(column))  # p > 0.001


def test_bounds_cut_the_uniform_distribution_and_do_not_bend_it() -> None:
    low, high = [0.1, 0.0, 0.02, 0.0], [0.6, 0.5, 0.3, 0.4]
    rng = np.random.default_rng(3)
    simplex = BoundedSimplex(low, high)
    drawn = np.array([simplex.shares(list(row)) for row in rng.random((1500, 3))])
    everywhere = rng.dirichlet(np.ones(4), 300_000)
    inside = everywhere[((everywhere >= low) & (everywhere <= high)).all(axis=1)]
    assert len(inside) > 15_000
    for ours, theirs in zip(drawn.T, inside.T, strict=True):
        ours = np.sort(ours)
        cumulative = np.searchsorted(np.sort(theirs), ours, side="right") / len(theirs)
        assert _distance(ours, cumulative) < 2.05 / np.sqrt(len(ours))


@settings(deadline=None)
@given(st.lists(unit, min_size=4, max_size=4))
def test_tight_ranges_hold_and_come_back(quantiles: list[float]) -> None:
    low, high = [0.1, 0.1, 0.1, 0.1, 0.1], [0.22, 0.22, 0.22, 0.22, 0.22]
    simplex = BoundedSimplex(low, high)
    shares = simplex.shares(quantiles)
    assert sum(shares) == pytest.approx(1.0, abs=1e-12)
    assert all(0.1 <= share <= 0.22 for share in shares)
    back = simplex.quantiles(shares)
    assert back is not None
    assert simplex.shares(back) == pytest.approx(shares, abs=1e-9)


@settings(deadline=None)
@given(st.tuples(unit, unit, unit), st.sampled_from(["on", "off"]))
def test_point_and_coordinates_round_trip(quantiles: tuple[float, ...], gan: str) -> None:
    space = _space(*BOUNDED)
    names = [name for name in space.distributions() if name.startswith("rest.")]
    coordinates = dict(zip(names, quantiles, strict=True)) | {"use.gan": gan}
    point = space.point(coordinates)
    assert sum(point.shares.values()) == pytest.approx(1.0, abs=1e-12)
    assert (point.shares["gan"] > 0) <= (gan == "on")
    for term in BOUNDED:
        low, high = space._ranges[term.key]
        if not (term.optional and point.shares[term.key] == 0):
            assert low - 1e-9 <= point.shares[term.key] <= high + 1e-9
    for back in (
        space.coordinates_of(weights=point.weights),
        space.coordinates_of(shares=point.shares),
    ):
        assert back is not None
        assert back.keys() == space.distributions().keys()
        assert space.point(back).weights == pytest.approx(point.weights, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(st.tuples(unit, unit))
def test_no_share_lies_between_nothing_and_half_a_percent(quantiles: tuple[float, float]) -> None:
    space = _space(*THREE)
    point = space.point(dict(zip(space.distributions(), quantiles, strict=True)))
    assert all(share == 0 or share > 0.00499 for share in point.shares.values())
    assert [point.weights[key] == 0 for key in point.shares] == [
        share == 0 for share in point.shares.values()
    ]


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3))
def test_shares_and_weights_convert_into_each_other(parts: list[float]) -> None:
    space = _space(*THREE)
    given_shares = dict(zip(("gan", "l1", "edge"), (p / sum(parts) for p in parts), strict=True))
    point = space.from_shares(given_shares)
    assert point.shares == pytest.approx(given_shares)
    assert space.from_weights(point.weights).shares == pytest.approx(given_shares)
    gradient = sum(weight * NORMS[key] for key, weight in point.weights.items())
    assert gradient == pytest.approx(NORMS["l1"])  # as long as that of l1 alone at weight 1


def test_weight_is_share_times_reference_norm_over_own_norm() -> None:
    point = _space(*THREE).from_shares({"l1": 0.5, "gan": 0.5})
    assert point.weights == pytest.approx({"gan": 0.5 * 0.022 / 0.36, "l1": 0.5, "edge": 0.0})


def test_weights_that_differ_by_a_factor_are_the_same_coordinates() -> None:
    space = _space(*THREE)
    weights = {"gan": 0.005, "l1": 0.01, "edge": 0.02}
    thousandfold = {key: 1000 * weight for key, weight in weights.items()}
    one, other = space.coordinates_of(weights=weights), space.coordinates_of(weights=thousandfold)
    assert one is not None
    assert one == pytest.approx(other)


def test_fixed_weights_stay_and_take_their_share_of_the_whole() -> None:
    space = _space(Term(loss="l1"), Term(loss="gan"), Term(loss="edge", weight=0.1))
    point = space.point({"rest.l1": 0.5})
    assert point.weights["edge"] == 0.1
    assert point.shares["edge"] == pytest.approx(0.0064 / (0.0064 + 0.022))
    assert space.coordinates_of(weights=point.weights) == pytest.approx({"rest.l1": 0.5})
    assert space.coordinates_of(weights=point.weights | {"edge": 0.2}) is None
    doubled = {key: 2 * weight for key, weight in point.weights.items()} | {"edge": 0.1}
    assert space.coordinates_of(weights=doubled) is None
    assert space.from_shares(point.shares).weights == pytest.approx(point.weights)


@pytest.mark.parametrize(
    "weights",
    [{"l1": 1.0}, {"l1": 1.0, "edge": 1.0, "ssim": 1e-9}, {"gan": 1.0}],
    ids=["above its share", "a share too small to propose", "without what is mandatory"],
)
def test_points_outside_of_the_ranges_have_no_coordinates(weights: dict[str, float]) -> None:
    space = _space(*BOUNDED)
    assert space.from_weights(weights).weights["gan"] == weights.get("gan", 0.0)
    assert space.coordinates_of(weights=weights) is None


def test_the_baseline_has_coordinates_where_the_ranges_reach_it() -> None:
    space = _space(*THREE)
    coordinates = space.coordinates_of(weights={"l1": 1.0})
    assert coordinates is not None
    assert space.point(coordinates).weights == {"gan": 0.0, "l1": 1.0, "edge": 0.0}


@settings(deadline=None)
@given(st.floats(1e-4, 10.0), st.floats(0.5, 2.0))
def test_weights_space_passes_weights_through(gan: float, edge: float) -> None:
    terms = (Term(loss="l1", weight=1.0), Term(loss="gan"), Term(loss="edge", range=(0.5, 2.0)))
    space = _space(*terms, space="weights")
    coordinates = {"weight.gan": gan, "weight.edge": edge}
    assert space.distributions().keys() == coordinates.keys()
    point = space.point(coordinates)
    assert point.weights == {"l1": 1.0, "gan": gan, "edge": edge}
    assert sum(point.shares.values()) == pytest.approx(1.0)
    assert space.coordinates_of(weights=point.weights) == coordinates
    assert space.coordinates_of(weights=point.weights | {"edge": 2.1}) is None


def test_an_optional_term_is_off_at_weight_zero_in_weights_space() -> None:
    space = _space(Term(loss="l1"), Term(loss="gan", optional=True), space="weights")
    coordinates = space.coordinates_of(weights={"l1": 2.0, "gan": 0.0})
    assert coordinates is not None
    assert coordinates["use.gan"] == "off"
    assert space.point(coordinates).weights == {"l1": 2.0, "gan": 0.0}


@pytest.mark.parametrize("norm", [0.0, float("nan"), float("inf"), None])
def test_norms_that_give_no_weight_are_refused_by_name(norm: float | None) -> None:
    norms = NORMS | {"gan": norm} if norm is not None else {"l1": 1.0, "edge": 1.0}
    calibration = Calibration.model_construct(norms=norms, values={}, batches=1)
    with pytest.raises(UnusableCalibration, match="gan"):
        Space(_study(*THREE), VOCABULARY, calibration)


def test_points_need_the_calibration() -> None:
    with pytest.raises(UnusableCalibration, match="wait for the start job"):
        Space(_study(*THREE), VOCABULARY).from_weights({"l1": 1.0})


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"l2": 1.0}, "terms are gan, l1, edge"),
        ({"l1": -1.0}, "from 0 up"),
        ({"l1": float("nan")}, "from 0 up"),
        ({}, "every weight is 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: dict[str, float], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        _space(*THREE).from_weights(weights)


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"add up to 0\.9"):
        _space(*THREE).from_shares({"l1": 0.5, "gan": 0.4})


@pytest.mark.parametrize(
    ("terms", "path", "sentence"),
    [
        ((Term(loss="l1", share=(0.6, 0.9)), Term(loss="gan", share=(0.5, 1.0))), "losses[0].share", "below 1"),
        ((Term(loss="l1"), Term(loss="gan", share=(0.1, 0.4))), None, ""),
        ((Term(loss="l1", share=(0.1, 0.4)), Term(loss="gan", share=(0.1, 0.4))), "losses[0].share", "1 or more"),
        ((Term(loss="l1", share=(0.1, 0.9)), Term(loss="gan", share=(0.0, 0.05), optional=True)), "losses[0].share", "1 or more"),
        ((Term(loss="l1"),), "search.space", "always 1"),
        ((Term(loss="l1", optional=True), Term(loss="gan", optional=True)), "losses", "not optional"),
        ((Term(loss="unknown"),), None, ""),
    ],
)  # fmt: skip
def test_spaces_that_cannot_be_searched_are_named(
    terms: tuple[Term, ...], path: str | None, sentence: str
) -> None:
    problems = check_space(_study(*terms), VOCABULARY)
    assert [problem.path for problem in problems] == ([] if path is None else [path])
    assert all(sentence in problem.message for problem in problems)
