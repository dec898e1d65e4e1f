"""Total variation, a prior on SR alone."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import differences, image_pair
from losses._registry import register
from losses._spec import Range


@register("tv", family="tv", side="distortion", share=(0.0, 0.3), cost="low", compares=False)
class TotalVariation(nn.Module):
    """Total variation of SR, which suppresses noise and ringing; HR is not used.

    isotropic: 1/(HWC) Σ √(dx² + dy² + ε²) on the (H-1)×(W-1) grid, mean over the batch, divided by
    HWC as the survey prints it (Wang, Chen, Hoi 2020; Rudin, Osher, Fatemi 1992).
    anisotropic: mean |dx| + mean |dy|, each over its own count (BasicSR's WeightedTVLoss).
    squared: mean dx² + mean dy²; half of KAIR's TVLoss.
    dx, dy are forward differences of (N, C, H, W) images in [0, 1], at least 2×2. A flat image has
    0, or about ε for isotropic, whose gradient is NaN there without ε.
    """

    def __init__(
        self,
        form: Annotated[
            Literal["isotropic", "anisotropic", "squared"], "which variation is summed"
        ] = "isotropic",
        eps: Annotated[
            float, Range(1e-12, 1.0), "ε of the isotropic form; keeps flat regions differentiable"
        ] = 1e-3,
    ) -> None:
        super().__init__()
        self.form = form
        self.eps = eps

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, _ = image_pair(sr, hr)
        dx, dy = differences(sr)
        if self.form == "anisotropic":
            return dx.abs().mean() + dy.abs().mean()
        if self.form == "squared":
            return dx.square().mean() + dy.square().mean()
        slope = dx[..., :-1, :].square() + dy[..., :, :-1].square()
        return torch.sqrt(slope + self.eps**2).sum() / sr.numel()
