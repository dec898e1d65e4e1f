"""Learned perceptual image patch similarity: Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018."""

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
    """Return the VGG of LPIPS; raises MissingWeights."""
    return Judge.published("lpips", losses.build("lpips", heads="lpips_vgg16", weights=VGG16))


@register_each(
    MetricInfo(
        name="lpips",
        summary="LPIPS 0.1 with VGG16 (not AlexNet, whose numbers are others): squared distance of "
        "unit-length features at five layers, weighted by the published heads, of RGB rounded to 8 bits, "
        "without a border of scale pixels. 0: equal. Needs torchvision's VGG16 (553 MB, once).",
        direction="minimize",
        side="perception",
        cost="high",
        needs=["weights"],
    ),
    prepare=judge,
)
def lpips(still: Still) -> float:
    """The `lpips` loss with the weights its heads were fitted to."""
    return judge().distance(still)
