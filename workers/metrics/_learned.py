"""Distances by frozen networks that were taught what people see, with their published weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from losses import UnsuitableInput
from losses._features import FeatureNetwork
from workers.metrics._registry import MetricUnavailable
from workers.metrics._still import ImageUnusable, Still
from workers.weights import WeightsUnavailable, feature_network, heads

#: torchvision's own VGG16. Heads of LPIPS and DISTS were fitted to it and mean nothing for others.
VGG16 = "vgg16_torchvision"


class MissingWeights(MetricUnavailable, WeightsUnavailable):
    """A learned metric lacks its published weights, and nothing else will do in their place."""

    @classmethod
    def of(cls, metric: str, cause: WeightsUnavailable) -> MissingWeights:
        instead = (
            "" if metric == "st_lpips" else " Or score st_lpips, whose weights are in a package."
        )
        return cls(f"{metric} cannot be computed without its published weights. {cause}{instead}")


@dataclass(frozen=True, eq=False)
class Judge:
    """A loss of features with the network and the heads that make a metric of it."""

    metric: str
    loss: Any  #: lpips or dists of the loss library
    network: FeatureNetwork
    heads: Mapping[str, Tensor]

    @classmethod
    def published(cls, metric: str, loss: Any) -> Judge:
        """Return `loss` with the weights its source and heads name; raises MissingWeights."""
        try:
            return cls(metric, loss, feature_network(loss.source), heads(loss.heads_source))
        except WeightsUnavailable as error:
            raise MissingWeights.of(metric, error) from error

    @torch.no_grad()
    def distance(self, still: Still) -> float:
        """Return the distance of SR to HR inside the border, in float32."""
        sr, hr = (image.float() for image in still.batches())
        network = self.network.to(sr.device)
        try:
            features = network.compare(sr, hr, self.loss.layers)
            distance = self.loss(sr, hr, features=features, heads=self.heads)
        except UnsuitableInput as error:
            size = f"{hr.shape[-1]}×{hr.shape[-2]}"
            raise ImageUnusable(f"{self.metric} of {size} inside the border: {error}") from error
        return float(distance.item())
