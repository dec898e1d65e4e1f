"""Mean squared error."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import Reduction, image_pair, reduce
from losses._registry import register


@register("l2", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class L2(nn.Module):
    """Mean (SR - HR)² over batch, channels and pixels (reduction mean), or the sum of it (sum).

    No factor 1/2. Images (N, C, H, W) in [0, 1]; the mean lies in [0, 1], 0 for equal images, and is
    what PSNR is the logarithm of. mean is BasicSR's MSELoss and KAIR's `l2`, sum is KAIR's `l2sum`.
    A `weight` map, (N, 1, H, W) or (N, C, H, W), at least 0, gives Σ w·d² / Σ w over all channels
    (BasicSR), or Σ w·d²; `sample_wise` as in `l1`. Dong et al., "Learning a deep convolutional network for image
    super-resolution", ECCV 2014.
    """

    def __init__(
        self,
        reduction: Annotated[Reduction, "mean over all numbers, or their sum"] = "mean",
        sample_wise: Annotated[
            bool, "divide a weighted mean by each sample's own weights (mmagic)"
        ] = False,
    ) -> None:
        super().__init__()
        self.reduction: Reduction = reduction
        self.sample_wise = sample_wise

    def forward(self, sr: Tensor, hr: Tensor, *, weight: Tensor | None = None) -> Tensor:
        sr, hr = image_pair(sr, hr)
        if weight is None:
            return F.mse_loss(sr, hr, reduction=self.reduction)
        return reduce((sr - hr).square(), self.reduction, weight, sample_wise=self.sample_wise)
