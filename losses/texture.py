"""Distance of Gram matrices, on whole feature maps or patch by patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._features import (
    Backbone,
    Features,
    Pooling,
    PreprocessingChoice,
    layer_weights,
    source,
)
from losses._functional import (
    UnsuitableInput,
    distance,
    full_precision,
    image_pair,
    unit_mean,
)
from losses._registry import register
from losses._spec import Range

Normalization = Literal["chw", "survey", "none"]
GramCriterion = Literal["l1", "l2", "frobenius", "squared_frobenius", "survey"]


@register("texture", family="texture", side="perception", share=(0.0, 0.5), cost="high")
class Texture(nn.Module):
    """Weighted sum over layers of the distance of Gram matrices G_ij = φ_i·φ_j of SR and HR.

    normalization chw divides G by CHW (Johnson, BasicSR), so that the patch size hardly matters; none
    leaves it (piq); survey leaves it and takes the survey's distance. criterion l1: mean |ΔG|
    (BasicSR, mmagic). l2: mean ΔG² (piq, with none). frobenius: √ΣΔG² over the whole batch (BasicSR's
    fro). squared_frobenius: ΣΔG² of each sample, mean over the batch (Johnson, with chw). survey:
    (1/C²) √ΣΔG² of each sample, mean over the batch (Wang, Chen, Hoi 2020, for unnormalised G). own:
    survey with normalization survey, else l1. `patch` p > 0 cuts the feature map into p×p patches (a
    remainder at the right and bottom is left out), one G each, mean over patches: EnhanceNet is
    patch 16, l2, none, scaling unit_mean, layers conv1_1, conv2_1, conv3_1 of VGG19. Layers as in
    `content`. Images (N, 3, H, W) in [0, 1]; 0 for equal images, and for others with the same
    statistics. Gatys, Ecker, Bethge, CVPR 2016; Johnson, Alahi, Fei-Fei, ECCV 2016; Sajjadi,
    Schölkopf, Hirsch, "EnhanceNet", ICCV 2017.
    """

    def __init__(
        self,
        backbone: Annotated[Backbone, "pretrained network the features come from"] = "vgg16",
        layers: Annotated[
            Mapping[str, float] | Sequence[str], "weight of each layer, or their names"
        ] = (),
        criterion: Annotated[
            Literal["own", GramCriterion], "distance of the Gram matrices; own: the normalization's"
        ] = "own",
        normalization: Annotated[Normalization, "what G is divided by"] = "chw",
        patch: Annotated[int, Range(0, 256), "side of the feature patches; 0: the whole map"] = 0,
        scaling: Annotated[
            Literal["raw", "unit_mean"], "whether features are divided by their mean"
        ] = "raw",
        weights: Annotated[
            str, "path of your own state dict on the worker; empty: the catalogue's"
        ] = "",
        preprocessing: Annotated[
            PreprocessingChoice, "what the weights expect; own: as the catalogue says"
        ] = "own",
        pooling: Annotated[Pooling, "pooling of the network"] = "max",
    ) -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        self.source = source(backbone, weights, preprocessing, pooling)
        self.weights = layer_weights("texture", backbone, layers)
        self.layers = tuple(self.weights)
        self.criterion = _criterion(criterion, normalization)
        self.normalization: Normalization = normalization
        self.patch = patch
        self.scaling = scaling

    def forward(self, sr: Tensor, hr: Tensor, *, features: Features) -> Tensor:
        image_pair(sr, hr)
        parts = [weight * self._distance(*features.pair(x)) for x, weight in self.weights.items()]
        return torch.stack(parts).sum()

    def _distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        grams = self._gram(sr), self._gram(hr)
        if self.criterion == "squared_frobenius":
            return distance(*grams, "l2") * grams[0][0].numel()
        return distance(*grams, self.criterion)

    def _gram(self, features: Tensor) -> Tensor:
        features = full_precision(features)
        if self.scaling == "unit_mean":
            features = unit_mean(features)
        if self.patch:
            features = patches(features, self.patch)
        return gram(features, self.normalization)


def _criterion(
    criterion: Literal["own", GramCriterion], normalization: Normalization
) -> GramCriterion:
    if criterion != "own":
        return criterion
    return "survey" if normalization == "survey" else "l1"


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
