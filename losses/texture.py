"""Distance of Gram matrices, on whole feature maps or patch by patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._features import Backbone, Features, layer_weights
from losses._functional import (
    Criterion,
    UnsuitableInput,
    distance,
    full_precision,
    image_pair,
    unit_mean,
)
from losses._registry import register
from losses._spec import Range

Normalization = Literal["chw", "none"]


@register("texture", family="texture", side="perception", share=(0.0, 0.5), cost="high")
class Texture(nn.Module):
    """Weighted sum over layers of the distance of Gram matrices G_ij = φ_i·φ_j of SR and HR.

    normalization chw divides G by CHW (Johnson 2016, BasicSR), so that the patch size hardly matters;
    none leaves it. criterion l1: mean |ΔG|; l2: mean ΔG²; survey: (1/C²) √ΣΔG², which the survey
    (Wang, Chen, Hoi 2020) applies to unnormalised G. `patch` p > 0 cuts the feature map into p×p
    patches (a remainder at the right and bottom is left out), one G each, mean over patches:
    EnhanceNet is patch 16, l2, none, scaling unit_mean. Layers as in `content`. Images (N, 3, H, W)
    in [0, 1]; 0 for equal images, and for others with the same statistics. Gatys, Ecker, Bethge,
    CVPR 2016; Sajjadi, Schölkopf, Hirsch, "EnhanceNet", ICCV 2017.
    """

    def __init__(
        self,
        backbone: Annotated[Backbone, "pretrained network the features come from"] = "vgg16",
        layers: Annotated[
            Mapping[str, float] | Sequence[str], "weight of each layer, or their names"
        ] = (),
        criterion: Annotated[Criterion, "distance of the Gram matrices"] = "l1",
        normalization: Annotated[Normalization, "what G is divided by"] = "chw",
        patch: Annotated[int, Range(0, 256), "side of the feature patches; 0: the whole map"] = 0,
        scaling: Annotated[
            Literal["raw", "unit_mean"], "whether features are divided by their mean"
        ] = "raw",
    ) -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        self.weights = layer_weights("texture", backbone, layers)
        self.layers = tuple(self.weights)
        self.criterion: Criterion = criterion
        self.normalization: Normalization = normalization
        self.patch = patch
        self.scaling = scaling

    def forward(self, sr: Tensor, hr: Tensor, *, features: Features) -> Tensor:
        image_pair(sr, hr)
        parts = [weight * self._distance(*features.pair(x)) for x, weight in self.weights.items()]
        return torch.stack(parts).sum()

    def _distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        return distance(self._gram(sr), self._gram(hr), self.criterion)

    def _gram(self, features: Tensor) -> Tensor:
        features = full_precision(features)
        if self.scaling == "unit_mean":
            features = unit_mean(features)
        if self.patch:
            features = patches(features, self.patch)
        return gram(features, self.normalization)


def gram(features: Tensor, normalization: Normalization) -> Tensor:
    """Return the Gram matrices (N, C, C) of (N, C, H, W) features, divided by CHW for chw."""
    flat = features.flatten(2)
    # Sums over a whole map of products: autocast would take them in half precision, and overflow.
    with torch.autocast(flat.device.type, enabled=False):
        products = flat @ flat.mT
    return products / flat[0].numel() if normalization == "chw" else products


def patches(features: Tensor, side: int) -> Tensor:
    """Cut (N, C, H, W) into its (N · ⌊H/side⌋ · ⌊W/side⌋, C, side, side) patches."""
    n, c, height, width = features.shape
    rows, columns = height // side, width // side
    if rows == 0 or columns == 0:
        raise UnsuitableInput(
            f"texture.patch is {side}, but the feature map is only {height}×{width}; "
            "lower texture.patch, take an earlier layer or train on larger patches."
        )
    tiles = features[..., : rows * side, : columns * side].reshape(n, c, rows, side, columns, side)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, side, side)
