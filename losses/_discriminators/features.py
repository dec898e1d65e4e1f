"""A verdict on what a frozen network sees in an image."""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor, nn

from losses._discriminators.image import tower, verdict
from losses._discriminators.layers import Norm, check_size, widths
from losses._functional import UnsuitableInput

_VGG_WIDTHS = (64, 128, 256, 512, 512)
#: Of the published SqueezeNet 1.1: width of the modules fire2.. and halvings before them.
_FIRE_WIDTHS = (128, 128, 256, 256, 384, 384, 512, 512)
_FIRE_HALVINGS = (2, 2, 3, 3, 4, 4, 4, 4)


class FeatureDiscriminator(nn.Module):
    """Logits (N, 1), one per image, from the features (N, C, h, w) of it at one layer (SRFeat).

    The chain of `ImageDiscriminator` over features instead of pixels: Park et al., "SRFeat: single
    image super-resolution with feature discrimination", ECCV 2018. `depth` counts halvings from the
    image on: those the features already have are taken off. It is as wide as the published backbone
    needs; the missing channels of a narrower one are zero.
    """

    def __init__(
        self,
        backbone: str,
        layer: str,
        channels: int,
        depth: int,
        *,
        spectral_norm: bool,
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.inputs, halved = published_shape(backbone, layer)
        self.depth = max(depth - halved, 0)
        self.body = tower(self.inputs, channels, self.depth, spectral_norm=spectral_norm, norm=norm)
        self.verdict = verdict(widths(channels, max(self.depth - 1, 0))[-1], channels)
        self.norm: Norm = norm

    def forward(self, features: Tensor) -> Tensor:
        check_size(features, self.depth, self.norm, "features")
        missing = self.inputs - features.shape[1]
        if missing < 0:
            raise UnsuitableInput(
                f"Features have {features.shape[1]} channels, but the published backbone has {self.inputs} "
                "there; name the layer and backbone these features come from."
            )
        x = self.body(F.pad(features, (0, 0, 0, 0, 0, missing)) if missing else features)
        logits: Tensor = self.verdict(x.mean(dim=(2, 3)))
        return logits


def published_shape(backbone: str, layer: str) -> tuple[int, int]:
    """Return how many channels a layer of a published backbone has, and how often it was halved."""
    found = re.match(r"([a-z]+)(\d+)", layer)
    kind, number = (found[1], int(found[2])) if found else ("", 0)
    if backbone.startswith("vgg"):
        return _VGG_WIDTHS[number - 1], number - (kind != "pool")
    if backbone.startswith("resnet"):
        if kind != "layer":
            return 64, 2 if kind == "pool" else 1
        return 2 ** (number + 5) * (4 if backbone == "resnet50" else 1), number + 1
    if kind == "fire":
        return _FIRE_WIDTHS[number - 2], _FIRE_HALVINGS[number - 2]
    if kind == "pool" and number > 1:
        return _FIRE_WIDTHS[number - 2], _FIRE_HALVINGS[number - 2] + 1
    return (1000, 4) if number == 10 else (64, 2 if kind == "pool" else 1)
