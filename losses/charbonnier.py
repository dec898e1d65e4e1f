"""Charbonnier penalty, an L1 that is smooth at zero."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import image_pair
from losses._registry import register
from losses._spec import Range


@register("charbonnier", family="pixel", side="distortion", share=(0.0, 1.0), cost="low")
class Charbonnier(nn.Module):
    """Mean √(d² + ε²) with d = SR - HR (form squared, the survey's), or mean √(d² + ε) (form added).

    BasicSR, mmagic and traiNNer-redux add ε itself: their 1e-6 is the 1e-3 of the papers, and 1e-3
    typed there acts like 0.032. Images (N, C, H, W) in [0, 1]; equal images give the floor ε
    (squared) or √ε (added), not 0, with zero gradient. Lai et al., "Deep Laplacian pyramid
    networks", CVPR 2017; Wang, Chen, Hoi, "Deep learning for image super-resolution: a survey", 2020.
    """

    def __init__(
        self,
        eps: Annotated[float, Range(1e-12, 1.0), "ε: errors below it count squared"] = 1e-3,
        form: Annotated[Literal["squared", "added"], "whether ε² or ε is added to d²"] = "squared",
    ) -> None:
        super().__init__()
        self.added = eps**2 if form == "squared" else eps

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        return torch.sqrt((sr - hr).square() + self.added).mean()
