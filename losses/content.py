"""Distance in the features of a pretrained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._features import Backbone, Features, layer_weights
from losses._functional import Criterion, distance, full_precision, image_pair, unit_mean
from losses._registry import register


@register("content", family="content", side="perception", share=(0.0, 1.0), cost="high")
class Content(nn.Module):
    """Weighted sum over layers of the distance of VGG or SqueezeNet features of SR and HR.

    criterion l1: mean |φ(SR) - φ(HR)| (ESRGAN, Real-ESRGAN). l2: mean square (SRGAN, whose features
    are also scaled by 1/12.75: weight 0.006). survey: Euclidean norm of each sample / HWC, mean over
    the batch. Layers: `conv5_4` is before ReLU (ESRGAN), `relu5_4` after it (SRGAN), `pool5` after
    pooling; no layer: `relu2_2` of a VGG, `fire3` of SqueezeNet, which a CPU can afford.
    scaling unit_mean divides each sample's features by their mean first (EnhanceNet; only sensible
    after a ReLU). Images (N, 3, H, W) in [0, 1]; 0 for equal images. Johnson, Alahi, Fei-Fei,
    "Perceptual losses", ECCV 2016; Ledig et al., SRGAN, CVPR 2017; Wang et al., ESRGAN, 2018.
    """

    def __init__(
        self,
        backbone: Annotated[Backbone, "pretrained network the features come from"] = "vgg16",
        layers: Annotated[
            Mapping[str, float] | Sequence[str], "weight of each layer, or their names"
        ] = (),
        criterion: Annotated[Criterion, "distance of the features"] = "l1",
        scaling: Annotated[
            Literal["raw", "unit_mean"], "whether features are divided by their mean"
        ] = "raw",
    ) -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        self.weights = layer_weights("content", backbone, layers)
        self.layers = tuple(self.weights)
        self.criterion: Criterion = criterion
        self.scaling = scaling

    def forward(self, sr: Tensor, hr: Tensor, *, features: Features) -> Tensor:
        image_pair(sr, hr)
        parts = [weight * self._distance(*features.pair(x)) for x, weight in self.weights.items()]
        return torch.stack(parts).sum()

    def _distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = full_precision(sr), full_precision(hr)
        if self.scaling == "unit_mean":
            sr, hr = unit_mean(sr), unit_mean(hr)
        return distance(sr, hr, self.criterion)
