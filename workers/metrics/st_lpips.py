"""Shift-tolerant perceptual similarity: Ghildyal and Liu, ECCV 2022, arXiv 2207.13686."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

import losses
from losses import UnsuitableInput
from losses._features import network
from service.contract.vocabulary import MetricInfo
from workers.metrics._learned import Judge, MissingWeights
from workers.metrics._registry import register_each
from workers.weights import WeightsUnavailable, load

if TYPE_CHECKING:
    from workers.metrics._still import Still

WEIGHTS = "st_lpips_vgg16"


class BlurPool(nn.Module):
    """Halves a map without aliasing: the largest of every 2×2 window, [1 2 1]ᵀ[1 2 1]/16, every second.

    Zhang, "Making convolutional networks shift-invariant again", ICML 2019, with the map mirrored by 2
    around, so that a side of n becomes n // 2 + 1. Sides from 4.
    """

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < 4:
            raise UnsuitableInput(
                f"A map of {x.shape[-2]}×{x.shape[-1]} cannot be halved; take images of 18 pixels or more."
            )
        largest = F.pad(F.max_pool2d(x, 2, stride=1), (2, 2, 2, 2), mode="reflect")
        # Means of neighbours, taken twice, are the binomial filter.
        return F.avg_pool2d(F.avg_pool2d(largest, 2, stride=1), 2)


def st_lpips_of(state: Mapping[str, Tensor]) -> Judge:
    """Return the judge with the weights `features.N.*` of its VGG16 and its heads `heads.<layer>`."""
    vgg = network("vgg16", state, "imagenet")
    for index, layer in enumerate(vgg.layers):
        if layer.startswith("pool"):
            vgg.steps[index] = BlurPool()
    prefix = "heads."
    found = {key.removeprefix(prefix): w for key, w in state.items() if key.startswith(prefix)}
    return Judge("st_lpips", losses.build("lpips", heads=WEIGHTS), vgg, found)


@cache
def judge() -> Judge:
    """Return the published judge; raises MissingWeights."""
    try:
        return st_lpips_of(load(WEIGHTS))
    except WeightsUnavailable as error:
        raise MissingWeights.of("st_lpips", error) from error


@register_each(
    MetricInfo(
        name="st_lpips",
        summary="ST-LPIPS (VGG16 with blurred pooling, trained with its heads on human judgements of "
        "BAPPS): squared distance of unit-length features at five layers, weighted, of RGB rounded to 8 "
        "bits, without a border of scale pixels. 0: equal; shifts of a pixel count little. Not "
        "comparable with LPIPS. Needs the weights of stlpips-pytorch (64 MB, once).",
        direction="minimize",
        side="perception",
        cost="high",
        needs=["weights"],
    ),
    prepare=judge,
)
def st_lpips(still: Still) -> float:
    """The `lpips` loss on features of a network that tolerates shifts."""
    return judge().distance(still)
