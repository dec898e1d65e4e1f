"""Mean absolute error."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from losses._functional import Reduction, image_pair, reduce
from losses._registry import register


@register("l1", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class L1(nn.Module):
    """Mean |SR - HR| over batch, channels and pixels (reduction mean), or the sum of it (sum).

    Images (N, C, H, W) in [0, 1]; the mean lies in [0, 1], 0 for equal images. The mean is the
    convention of BasicSR, KAIR and mmagic; EDVR's published weights belong to the sum, which grows
    with batch and patch. A `weight` map, (N, 1, H, W) or (N, C, H, W), at least 0, gives
    Σ w|d| / Σ w over all channels (BasicSR), or Σ w|d|; `sample_wise` takes that quotient of each
    sample, and their mean (mmagic). Zhao et al., "Loss functions for image restoration with neural
    networks", IEEE TCI 2017.
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
        return reduce((sr - hr).abs(), self.reduction, weight, sample_wise=self.sample_wise)
