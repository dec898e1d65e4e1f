"""Learned perceptual image patch similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from losses._features import (
    Backbone,
    Features,
    Pooling,
    PreprocessingChoice,
    head,
    layer_weights,
    source,
)
from losses._functional import full_precision, image_pair, unit_norm
from losses._registry import register

#: The layers of the paper's code; those of VGG19 and the ResNets are the like, for use without heads.
LAYERS: dict[str, tuple[str, ...]] = {
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "vgg19": ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4"),
    "resnet18": ("relu1", "layer1", "layer2", "layer3", "layer4"),
    "resnet50": ("relu1", "layer1", "layer2", "layer3", "layer4"),
    "squeezenet1_1": ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
}


@register("lpips", family="perceptual", side="perception", share=(0.0, 1.0), cost="high")
class Lpips(nn.Module):
    """Sum over layers of the weighted squared distance of unit-length features of SR and HR.

    Σ_l mean_hw Σ_c w_lc (φ̂(SR) - φ̂(HR))², mean over the batch; φ̂ is φ over its norm along C
    (+ 1e-10). `heads` names the learned w: the catalogue's lpips_vgg16 or lpips_squeezenet1_1 (v0.1),
    or a path; they hold layer name → (C,). They were learned on torchvision's weights and mean
    nothing for others (the catalogue's packaged vgg16 among them), so the default is none: w = 1,
    which is the paper's unlearned baseline (`lpips=False` in its code). Layers as in its code (VGG16:
    relu1_2, relu2_2, relu3_3, relu4_3, relu5_3; SqueezeNet: relu1, fire3, fire5 .. fire9), each of
    weight 1; give others by `layers`. Its shift and scale equal preprocessing imagenet. VGGs need
    16 px, SqueezeNet 17. Images (N, 3, H, W) in [0, 1], where its code takes [-1, 1]; 0 for equal
    images. Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018.
    """

    def __init__(
        self,
        backbone: Annotated[Backbone, "pretrained network the features come from"] = "vgg16",
        heads: Annotated[
            str, "learned channel weights: a catalogue name, a path on the worker, or none"
        ] = "none",
        layers: Annotated[
            Mapping[str, float] | Sequence[str], "weight of each layer; empty: the paper's"
        ] = (),
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
        self.weights = layer_weights("lpips", backbone, layers, LAYERS[backbone])
        self.layers = tuple(self.weights)
        self.heads_source = "" if heads == "none" else heads
        self.needs = ("features", "heads") if self.heads_source else ("features",)

    def forward(
        self,
        sr: Tensor,
        hr: Tensor,
        *,
        features: Features,
        heads: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        image_pair(sr, hr)
        parts = [
            weight * self._distance(layer, features, heads)
            for layer, weight in self.weights.items()
        ]
        return torch.stack(parts).sum()

    def head_shapes(self, widths: Mapping[str, int]) -> dict[str, int]:
        """Return the size of each head by its key, for layers of these widths."""
        return {layer: widths[layer] for layer in self.layers}

    def _distance(
        self, layer: str, features: Features, heads: Mapping[str, Tensor] | None
    ) -> Tensor:
        sr, hr = (unit_norm(full_precision(x)) for x in features.pair(layer))
        # Averaged first, weighted after: C products instead of CHW.
        channels = (sr - hr).square().mean(dim=(0, 2, 3))
        if self.heads_source:
            channels = channels * head(heads, layer, sr, self.heads_source)
        return channels.sum()
