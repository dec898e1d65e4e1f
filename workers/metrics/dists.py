"""Deep image structure and texture similarity: Ding, Ma, Wang and Simoncelli, TPAMI 2020."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import losses
from service.contract.vocabulary import MetricInfo
from workers.metrics._learned import VGG16, Judge
from workers.metrics._registry import register_each

if TYPE_CHECKING:
    from workers.metrics._still import Still


@cache
def judge() -> Judge:
    """Return the VGG of DISTS with its l2 pooling; raises MissingWeights."""
    return Judge.published("dists", losses.build("dists", heads="dists", weights=VGG16))


@register_each(
    MetricInfo(
        name="dists",
        summary="DISTS with its authors' α and β: how far means (texture) and covariances (structure) of "
        "the image's and VGG16's channels differ, of RGB rounded to 8 bits, without a border of scale "
        "pixels, not shrunk to 256 pixels. 0: equal; does not mind texture that is moved about. Needs "
        "torchvision's VGG16 (553 MB, once).",
        direction="minimize",
        side="perception",
        cost="high",
        needs=["weights"],
    ),
    prepare=judge,
)
def dists(still: Still) -> float:
    """The `dists` loss with the weights its α and β were fitted to."""
    return judge().distance(still)
