"""Charbonnier penalty, an L1 that is smooth at zero."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import Reduction, image_pair, reduce
from losses._registry import register
from losses._spec import Range


@register("charbonnier", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class Charbonnier(nn.Module):
    """Mean √(d² + ε²) with d = SR - HR (form squared, the survey's), or mean √(d² + ε) (form added).

    BasicSR, mmagic and traiNNer-redux add ε itself: their 1e-6 is the 1e-3 of the papers, and 1e-3
    typed there acts like 0.032; their default is added with 1e-12, KAIR's added with 1e-9. shifted:
    √(d² + ε²) - ε, 0 for equal images; kornia's is shifted with ε = 1, nearly d²/2 and a hundred
    times weaker than l1 at the errors of super-resolution. Equal images give the floor ε (squared)
    or √ε (added), times their numbers for sum, with zero gradient.

    Images (N, C, H, W) in [0, 1]; `reduction` and `weight` map as in `l1` (EDVR: sum). Lai et al.,
    "Deep Laplacian pyramid networks", CVPR 2017; Wang, Chen, Hoi, "Deep learning for image
    super-resolution: a survey", 2020; Barron, "A general and adaptive robust loss", CVPR 2019.
    """

    def __init__(
        self,
        eps: Annotated[float, Range(1e-12, 1.0), "ε: errors below it count squared"] = 1e-3,
        form: Annotated[
            Literal["squared", "added", "shifted"], "whether ε² or ε is added to d², or ε taken off"
        ] = "squared",
        reduction: Annotated[Reduction, "mean over all numbers, or their sum"] = "mean",
    ) -> None:
        super().__init__()
        self.eps = eps
        self.form = form
        self.reduction: Reduction = reduction

    def forward(self, sr: Tensor, hr: Tensor, *, weight: Tensor | None = None) -> Tensor:
        sr, hr = image_pair(sr, hr)
        squared = (sr - hr).square()
        added = self.eps if self.form == "added" else self.eps**2
        if self.form == "shifted":
            # √(d² + ε²) - ε = d² / (√(d² + ε²) + ε), which keeps its digits for small errors.
            errors = squared / (torch.sqrt(squared + added) + self.eps)
        else:
            # In place: nothing needs d² again, and on a CPU fresh memory costs more than the root.
            errors = squared.add_(added).sqrt_()
        return reduce(errors, self.reduction, weight)
