"""Mean absolute error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import image_pair
from losses._registry import register


@register("l1", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class L1(nn.Module):
    """Mean |SR - HR| over batch, channels and pixels.

    Images (N, C, H, W) in [0, 1]; value in [0, 1], 0 for equal images. The mean convention of
    BasicSR, KAIR and mmagic; EDVR's published weights belong to the sum. Zhao et al., "Loss
    functions for image restoration with neural networks", IEEE TCI 2017.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return F.l1_loss(*image_pair(sr, hr))
