"""Discriminators that adversarial losses train against the generator, one architecture a file.

All take images (N, 3, H, W) in [0, 1] or features (N, C, h, w) and return logits, (N, 1) or one for
each place; weights come from torch's global generator, which the caller seeds; everything that
training moves is in the state dict, so that a resumed training is exact.
"""

from __future__ import annotations

from losses._discriminators.classes import ClassDiscriminators, class_numbers
from losses._discriminators.features import FeatureDiscriminator
from losses._discriminators.image import ImageDiscriminator
from losses._discriminators.layers import Norm
from losses._discriminators.patch import PatchDiscriminator
from losses._discriminators.unet import UNetDiscriminator

__all__ = [
    "ClassDiscriminators",
    "FeatureDiscriminator",
    "ImageDiscriminator",
    "Norm",
    "PatchDiscriminator",
    "UNetDiscriminator",
    "class_numbers",
]
