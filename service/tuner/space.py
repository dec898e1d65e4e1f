"""What a study searches: points between what Optuna samples and what a trainer multiplies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.contract.errors import InvalidRequest
from service.contract.study import StudyDefinition
from service.contract.trial import Calibration
from service.contract.vocabulary import Vocabulary
from service.tuner.observation import Coordinates
from service.tuner.simplex import SLACK, BoundedSimplex
from service.tuner.terms import LEAST_SHARE, searched_terms, share_range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEFAULT_WEIGHTS = (1e-4, 10.0)
_SCALE_TOLERANCE = 1e-6


class UnusableCalibration(InvalidRequest):
    """The gradient norms of the start job cannot turn shares into weights."""


@dataclass(frozen=True)
class Point:
    """One setting of the loss, in both currencies; a term at 0 is not computed.

    `shares` add up to 1 over all terms; `weights` are what the trainer multiplies with.
    """

    shares: dict[str, float]
    weights: dict[str, float]


class Space:
    """The searched points of a study, with the ways in and out.

    Raises `UnusableCalibration` for norms that are missing, zero or not finite. Without a
    calibration only `distributions`, `searched_shares` and inverses that need no norms work.
    """

    def __init__(
        self,
        definition: StudyDefinition,
        vocabulary: Vocabulary,
        calibration: Calibration | None = None,
    ) -> None:
        self.definition = definition
        self.searched = searched_terms(definition, vocabulary)
        self._in_shares = definition.search.space == "shares"
        self._ranges = {t.key: share_range(t, vocabulary) for t in self.searched}
        self._fixed = {t.key: t.weight for t in definition.losses if t.weight != "search"}
        self._norms = None if calibration is None else self._checked(calibration.norms)

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna samples, the same in every trial of the study."""
        # Here, because only the sampler's process needs Optuna, and starting must be quick.
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        found: dict[str, BaseDistribution] = {}
        if self._in_shares:
            found |= {f"rest.{t.key}": FloatDistribution(0.0, 1.0) for t in self.searched[:-1]}
        else:
            for term in self.searched:
                low, high = term.range or DEFAULT_WEIGHTS
                found[f"weight.{term.key}"] = FloatDistribution(low, high, log=True)
        optional = [t.key for t in self.searched if t.optional]
        return found | {f"use.{key}": CategoricalDistribution(["on", "off"]) for key in optional}

    def point(self, coordinates: Mapping[str, float | str]) -> Point:
        """The point at these coordinates; needs the calibration."""
        return self.points([coordinates])[0]

    def points(self, many: Sequence[Mapping[str, float | str]]) -> list[Point]:
        """The points at all these coordinates; quicker than one by one."""
        if self._in_shares:
            found = [self._scaled(shares) for shares in self._all_shares(many)]
        else:
            found = [
                {key: float(coordinates[f"weight.{key}"]) for key in self._used(coordinates)}
                for coordinates in many
            ]
        return [self._at(weights | self._fixed) for weights in found]

    def searched_shares(self, coordinates: Mapping[str, float | str]) -> dict[str, float]:
        """Shares of the searched terms among themselves (space `shares`); they add up to 1."""
        return self._all_shares([coordinates])[0]

    def _all_shares(self, many: Sequence[Mapping[str, float | str]]) -> list[dict[str, float]]:
        found: list[dict[str, float]] = [{}] * len(many)
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, coordinates in enumerate(many):
            groups.setdefault(tuple(self._used(coordinates)), []).append(place)
        for used, places in groups.items():
            quantiles = [[float(many[p][f"rest.{key}"]) for key in used[:-1]] for p in places]
            rows = self._simplex(list(used)).all_shares(np.asarray(quantiles, float))
            for place, row in zip(places, rows.tolist(), strict=True):
                shares = self._snapped(dict(zip(used, row, strict=True)))
                found[place] = dict.fromkeys(self._ranges, 0.0) | shares
        return found

    def from_weights(self, weights: Mapping[str, float]) -> Point:
        """The point of raw weights; a searched term left out is 0, a fixed one keeps its weight."""
        self._check_numbers("weights", weights)
        return self._at(dict.fromkeys(self._ranges, 0.0) | self._fixed | dict(weights))

    def from_shares(self, shares: Mapping[str, float]) -> Point:
        """The point of gradient shares, which must add up to 1; terms left out are 0."""
        self._check_numbers("shares", shares)
        total = sum(shares.values())
        if abs(total - 1.0) > 1e-3:
            raise InvalidRequest(f"shares add up to {total:.6g}; make them add up to 1")
        point = self._at(self._scaled(self._among_searched(shares)) | self._fixed)
        for key in self._fixed:
            if key in shares and abs(point.shares[key] - shares[key]) > 1e-3:
                raise InvalidRequest(
                    f"shares.{key} is {shares[key]:.4g}, but its fixed weight {self._fixed[key]} "
                    f"gives it {point.shares[key]:.4g}; leave it out"
                )
        return point

    def coordinates_of(
        self,
        *,
        weights: Mapping[str, float] | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> Coordinates | None:
        """The coordinates whose `point` this is; None when no coordinates give it.

        Weights that differ by one factor are the same point of space `shares`, because Adam does
        not see the factor; with fixed weights in the sum it does matter. Coordinates without
        effect (of a term that is off) come back in the middle of their range.
        """
        if (weights is None) == (shares is None):
            raise ValueError("give either weights or shares")
        if weights is None and shares is not None and not self._in_shares:
            weights = self.from_shares(shares).weights
        if weights is not None:
            point = self.from_weights(weights)
            if any(point.weights[key] != fixed for key, fixed in self._fixed.items()):
                return None
            if not self._in_shares:
                return self._weight_coordinates(point.weights)
            if not self._has_scale(point.weights):
                return None
            shares = point.shares
        self._check_numbers("shares", shares or {})
        return self._share_coordinates(self._among_searched(shares or {}))

    def _used(self, coordinates: Mapping[str, float | str]) -> list[str]:
        return [t.key for t in self.searched if coordinates.get(f"use.{t.key}", "on") == "on"]

    def _simplex(self, used: list[str]) -> BoundedSimplex:
        if len(used) == 1:  # alone, a term has everything, whatever its range says
            return BoundedSimplex([1.0], [1.0])
        low, high = zip(*(self._ranges[key] for key in used), strict=True)
        return BoundedSimplex(low, high)

    def _snapped(self, shares: dict[str, float]) -> dict[str, float]:
        """Without shares too small to matter; the others take them over, as far as they may."""
        kept = {key: s for key, s in shares.items() if s >= LEAST_SHARE - SLACK}
        freed = 1.0 - sum(kept.values())
        room = {key: self._ranges[key][1] - s for key, s in kept.items()}
        if len(kept) == len(shares) or sum(room.values()) < freed - SLACK:
            return shares
        grown = {key: s / (1.0 - freed) for key, s in kept.items()}
        if any(s > self._ranges[key][1] + SLACK for key, s in grown.items()):
            # Keeping proportions would break a range: fill each in proportion to its room.
            grown = {key: s + freed * room[key] / sum(room.values()) for key, s in kept.items()}
        return dict.fromkeys(shares, 0.0) | grown

    def _scaled(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Raw weights whose total gradient is that of the reference term at weight 1."""
        norms = self._known_norms()
        reference = norms[self.searched[0].key]
        return {key: share * reference / norms[key] for key, share in shares.items()}

    def _at(self, weights: Mapping[str, float]) -> Point:
        norms = self._known_norms()
        ordered = {t.key: float(weights.get(t.key, 0.0)) for t in self.definition.losses}
        pulls = {key: weight * norms.get(key, 0.0) for key, weight in ordered.items()}
        total = sum(pulls.values())
        if not total > 0.0 or not math.isfinite(total):
            raise InvalidRequest("every weight is 0, so nothing would be trained; raise one")
        return Point({key: pull / total for key, pull in pulls.items()}, ordered)

    def _among_searched(self, shares: Mapping[str, float]) -> dict[str, float]:
        total = sum(shares.get(key, 0.0) for key in self._ranges)
        if not total > 0.0:
            raise InvalidRequest("every searched term has share 0; raise one")
        return {key: shares.get(key, 0.0) / total for key in self._ranges}

    def _share_coordinates(self, shares: dict[str, float]) -> Coordinates | None:
        off = {t.key for t in self.searched if t.optional and shares[t.key] == 0.0}
        used = [key for key in shares if key not in off]
        quantiles = self._simplex(used).quantiles([shares[key] for key in used])
        if quantiles is None:
            return None
        found: Coordinates = {f"rest.{t.key}": 0.5 for t in self.searched[:-1]}
        found |= {f"rest.{key}": q for key, q in zip(used[:-1], quantiles, strict=True)}
        snapped = self.searched_shares(found | self._switches(off))
        if any(abs(snapped[key] - shares[key]) > SLACK for key in shares):
            return None  # a share between 0 and LEAST_SHARE: the search snaps it
        return found | self._switches(off)

    def _weight_coordinates(self, weights: Mapping[str, float]) -> Coordinates | None:
        off = {t.key for t in self.searched if t.optional and weights[t.key] == 0.0}
        found: Coordinates = {}
        for term in self.searched:
            low, high = term.range or DEFAULT_WEIGHTS
            weight = math.sqrt(low * high) if term.key in off else weights[term.key]
            if not low <= weight <= high:
                return None
            found[f"weight.{term.key}"] = weight
        return found | self._switches(off) if len(off) < len(self.searched) else None

    def _switches(self, off: set[str]) -> Coordinates:
        optional = [t.key for t in self.searched if t.optional]
        return {f"use.{key}": "off" if key in off else "on" for key in optional}

    def _has_scale(self, weights: Mapping[str, float]) -> bool:
        """Whether the searched weights stand to the fixed ones as the search would put them."""
        if not any(self._fixed.values()):
            return True
        norms = self._known_norms()
        pull = sum(weights[key] * norms[key] for key in self._ranges)
        return math.isclose(pull, norms[self.searched[0].key], rel_tol=_SCALE_TOLERANCE)

    def _check_numbers(self, field: str, numbers: Mapping[str, float]) -> None:
        known = [t.key for t in self.definition.losses]
        for key, number in numbers.items():
            if key not in known:
                raise InvalidRequest(
                    f"{field} name {key!r}; the study's terms are {', '.join(known)}"
                )
            if not (math.isfinite(number) and number >= 0.0):
                raise InvalidRequest(f"{field}.{key} is {number}; give a finite number from 0 up")

    def _known_norms(self) -> Mapping[str, float]:
        if self._norms is None:
            raise UnusableCalibration("there are no gradient norms yet; wait for the start job")
        return self._norms

    def _checked(self, norms: Mapping[str, float]) -> Mapping[str, float]:
        computed = [*self._ranges, *(key for key, weight in self._fixed.items() if weight)]
        for key in computed:
            norm = norms.get(key)
            if norm is None:
                raise UnusableCalibration(
                    f"the calibration has no gradient norm of {key}; measure it"
                )
            if not (math.isfinite(norm) and norm > 0.0):
                raise UnusableCalibration(
                    f"{key} has gradient norm {norm} at the start, so no weight gives it a share; "
                    f"remove the term or change its parameters"
                )
        return norms
