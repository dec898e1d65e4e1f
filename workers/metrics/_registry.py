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
#: Brings here what the metric needs of the world, or raises MetricUnavailable.
Prepare: TypeAlias = Callable[[], object]

SPECS: dict[str, MetricInfo] = {}
_MEASURES: dict[str, Measure] = {}
_PREPARATIONS: dict[str, Prepare] = {}


class UnknownMetric(Exception):
    """No metric has this name."""


class MetricUnavailable(Exception):
    """This machine lacks what the metric needs; the sentence says how to get it."""


def register(*infos: MetricInfo, prepare: Prepare | None = None) -> Callable[[Measure], Measure]:
    """Offer metrics that are computed together, over all images."""

    def _register(measure: Measure) -> Measure:
        for info in infos:
            SPECS[info.name] = info
            _MEASURES[info.name] = measure
            if prepare is not None:
                _PREPARATIONS[info.name] = prepare
        return measure

    return _register


def register_each(
    info: MetricInfo, *, prepare: Prepare | None = None
) -> Callable[[Callable[[Still], float]], Callable[[Still], float]]:
    """Offer a metric that is computed image by image."""

    def _register(measure: Callable[[Still], float]) -> Callable[[Still], float]:
        register(info, prepare=prepare)(
            lambda stills: {info.name: [measure(still) for still in stills]}
        )
        return measure

    return _register


def score(
    names: Sequence[str],
    pairs: Sequence[tuple[Tensor, Tensor]],
    *,
    scale: int,
    lrs: Sequence[Tensor] | None = None,
    clips: Sequence[str] | None = None,
) -> dict[str, list[float]]:
    """Return, for each name, one finite score per pair (sr, hr), in their order.

    Each image is (3, H, W), float in [0, 1] or uint8; all are scored as saved, rounded to 8 bits.
    `scale` is the border most metrics cut, 0 for none; `lrs` are the images SR was made from, for
    lr_consistency; `clips` names the clip of each frame, empty for stills: its frames follow one
    another, and their motion counts for VMAF. `SPECS[name].summary` has each definition.

    Raises UnknownMetric, ImageUnusable, and MetricUnavailable.
    """
    check(names)
    sources = lrs if lrs is not None else [None] * len(pairs)
    named = clips if clips is not None else [""] * len(pairs)
    stills = [
        Still.of(sr, hr, scale=scale, lr=lr, clip=clip, position=k)
        for k, ((sr, hr), lr, clip) in enumerate(zip(pairs, sources, named, strict=True))
    ]
    return measure(names, stills)


def prepare(names: Sequence[str]) -> None:
    """Bring here what the metrics need of the world, such as weights: before training, not after.

    Raises UnknownMetric, and MetricUnavailable with what to do about it.
    """
    check(names)
    for name in dict.fromkeys(names):
        if name in _PREPARATIONS:
            _PREPARATIONS[name]()


def check(names: Sequence[str]) -> None:
    """Raise UnknownMetric, with the nearest name, if one of `names` is none."""
    for name in names:
        if name not in SPECS:
            near = difflib.get_close_matches(name, SPECS, n=1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            raise UnknownMetric(f"metric `{name}` is unknown; {hint}Known: {', '.join(SPECS)}")


def measure(names: Sequence[str], stills: Sequence[Still]) -> dict[str, list[float]]:
    """Return, for each known name, one score per still, in their order."""
    scores: dict[str, list[float]] = {}
    for name in names:
        if name not in scores:
            scores.update(_MEASURES[name](stills))
    return {name: scores[name] for name in names}
