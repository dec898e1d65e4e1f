"""Metrics by name, and the one call that computes those a study asks for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from workers.metrics._still import Still

if TYPE_CHECKING:
    from torch import Tensor

    from service.contract.vocabulary import MetricInfo

#: Scores stills, all at once, under the names of its metrics.
Measure: TypeAlias = Callable[[Sequence[Still]], Mapping[str, list[float]]]

SPECS: dict[str, MetricInfo] = {}
_MEASURES: dict[str, Measure] = {}


class UnknownMetric(Exception):
    """No metric has this name."""


class MetricUnavailable(Exception):
    """This machine lacks what the metric needs; the sentence says how to get it."""


def register(*infos: MetricInfo) -> Callable[[Measure], Measure]:
    """Offer metrics that are computed together, over all images."""

    def _register(measure: Measure) -> Measure:
        for info in infos:
            SPECS[info.name] = info
            _MEASURES[info.name] = measure
        return measure

    return _register


def register_each(
    info: MetricInfo,
) -> Callable[[Callable[[Still], float]], Callable[[Still], float]]:
    """Offer a metric that is computed image by image."""

    def _register(measure: Callable[[Still], float]) -> Callable[[Still], float]:
        register(info)(lambda stills: {info.name: [measure(still) for still in stills]})
        return measure

    return _register


def score(
    names: Sequence[str], pairs: Sequence[tuple[Tensor, Tensor]], *, scale: int
) -> dict[str, list[float]]:
    """Return, for each name, one finite score per pair (sr, hr), in their order.

    sr is float (3, H, W) in [0, 1], hr the same or uint8; both are scored as saved, rounded to 8
    bits. `scale` is the border most metrics cut; `SPECS[name].summary` has each definition.

    Raises UnknownMetric, ImageUnusable, and MetricUnavailable.
    """
    for name in names:
        if name not in SPECS:
            near = difflib.get_close_matches(name, SPECS, n=1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            raise UnknownMetric(f"metric `{name}` is unknown; {hint}Known: {', '.join(SPECS)}")
    stills = [Still.of(sr, hr, scale=scale, position=k) for k, (sr, hr) in enumerate(pairs)]
    scores: dict[str, list[float]] = {}
    for name in names:
        if name not in scores:
            scores.update(_MEASURES[name](stills))
    return {name: scores[name] for name in names}
