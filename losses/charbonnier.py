"""Charbonnier penalty, an L1 that is smooth at zero."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import Reduction, image_pair, reduce
from losses._registry import register
from losses._spec import InvalidParameter, Range


@register("charbonnier", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class Charbonnier(nn.Module):
    """Mean √(d² + ε²) with d = SR - HR (form squared, the survey's), or mean √(d² + ε) (form added).

    BasicSR, mmagic and traiNNer-redux add ε itself: their 1e-6 is the 1e-3 of the papers, and 1e-3
    typed there acts like 0.032; their default is added with 1e-12, KAIR's added with 1e-9. shifted:
    √(d² + ε²) - ε, 0 for equal images; kornia's is shifted with ε = 1, nearly d²/2: on a bicubic ×4
    photo its gradient is 23 times weaker than l1's, its value 34 times. Equal images give the floor
    ε (squared) or √ε (added), times their numbers for sum, with zero gradient.

    clip_min and clip_max clamp each error: neosr's chc is ε 1e-6, clipped to 0.003921 .. 0.996078.
    Errors outside have no gradient: below 1/255 training stops, and SR is left as far off as that.

    Images (N, C, H, W) in [0, 1]; `reduction`, `weight` map and `sample_wise` as in `l1` (EDVR: sum). Lai et al.,
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
        sample_wise: Annotated[
            bool, "divide a weighted mean by each sample's own weights (mmagic)"
        ] = False,
        clip_min: Annotated[float, Range(0.0, 1.0), "smaller errors count as this one"] = 0.0,
        clip_max: Annotated[float, Range(0.0, 100.0), "larger ones as this; 0: none do"] = 0.0,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.form = form
        self.reduction: Reduction = reduction
        self.sample_wise = sample_wise
        self.clip_min, self.clip_max = clip_min, clip_max
        if 0 < clip_max <= clip_min:
            raise InvalidParameter(
                f"charbonnier.clip_max is {clip_max:g}, but must be above clip_min, {clip_min:g}, to leave "
                "errors a gradient; 0 sets no upper end."
            )

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
        if self.clip_min or self.clip_max:
            errors = errors.clamp(self.clip_min, self.clip_max or None)
        return reduce(errors, self.reduction, weight, sample_wise=self.sample_wise)
