"""Huber penalty, squared for small errors and absolute for large ones."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import Reduction, image_pair, reduce
from losses._registry import register
from losses._spec import Range


@register("huber", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class Huber(nn.Module):
    """Mean of d²/2 where |d| < δ and δ(|d| - δ/2) elsewhere, d = SR - HR (form huber, torch's).

    smooth_l1: that divided by δ, torch's `smooth_l1_loss(beta=δ)`, slope 1 for large errors. pseudo:
    δ²(√(1 + (d/δ)²) - 1), the same limits without a joint. Errors of images in [0, 1] are below 1:
    torch's and neosr's δ = 1 makes huber exactly half of l2, which is why the default here is not 1.

    Images (N, C, H, W); 0 for equal images; `reduction`, `weight` map and `sample_wise` as in `l1`. Huber, "Robust
    estimation of a location parameter", 1964; Charbonnier et al., "Deterministic edge-preserving
    regularization in computed imaging", 1997 (pseudo).
    """

    def __init__(
        self,
        delta: Annotated[float, Range(1e-6, 10.0), "δ: errors below it count squared"] = 0.03,
        form: Annotated[
            Literal["huber", "smooth_l1", "pseudo"], "how the two regimes are scaled and joined"
        ] = "huber",
        reduction: Annotated[Reduction, "mean over all numbers, or their sum"] = "mean",
        sample_wise: Annotated[
            bool, "divide a weighted mean by each sample's own weights (mmagic)"
        ] = False,
    ) -> None:
        super().__init__()
        self.delta = delta
        self.form = form
        self.reduction: Reduction = reduction
        self.sample_wise = sample_wise

    def forward(self, sr: Tensor, hr: Tensor, *, weight: Tensor | None = None) -> Tensor:
        sr, hr = image_pair(sr, hr)
        if weight is not None:
            errors = self._errors(sr, hr, "none")
            return reduce(errors, self.reduction, weight, sample_wise=self.sample_wise)
        return self._errors(sr, hr, self.reduction)

    def _errors(self, sr: Tensor, hr: Tensor, how: Literal["none", "mean", "sum"]) -> Tensor:
        """Return the errors of all numbers, or their mean or sum."""
        if self.form == "huber":
            return F.huber_loss(sr, hr, reduction=how, delta=self.delta)
        if self.form == "smooth_l1":
            return F.smooth_l1_loss(sr, hr, reduction=how, beta=self.delta)
        squared = (sr - hr).square()
        # √(1 + x) - 1 = x / (√(1 + x) + 1), which keeps its digits for small errors.
        root = torch.sqrt(1 + squared / self.delta**2)
        errors = squared / (root + 1)
        return errors if how == "none" else reduce(errors, how)
