"""Distance of edge maps."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import Padding, image_pair, luma, sobel
from losses._registry import register
from losses._spec import Range


@register("edge", family="edge", side="distortion", share=(0.0, 0.5), cost="low")
class Edge(nn.Module):
    """Mean |S∗SR - S∗HR| (l1) or its square (l2) over the two Sobel derivatives S.

    Kernels [1 2 1]ᵀ[1 0 -1] times `scale`: 1/4, the default, measures brightness per two pixels
    (traiNNer-redux); 1 is the plain kernel (mmagic), 1/8 normalises it (kornia). `directions: mean`
    averages the two derivatives, `sum` adds their means (mmagic), `magnitude` compares √(Sx² + Sy² +
    1e-6) instead (kornia's filter sobel), which does not see where an edge points. Images (N, 3, H, W) in [0, 1], any
    C with `channels: rgb`; 0 for equal images. Cf. Seif, Androutsos, "Edge-based loss function for
    single image super-resolution", ICASSP 2018.
    """

    def __init__(
        self,
        criterion: Annotated[Literal["l1", "l2"], "distance of the edge maps"] = "l1",
        channels: Annotated[
            Literal["luma", "rgb"], "edges of BT.601 luma, or of each channel"
        ] = "luma",
        scale: Annotated[float, Range(1e-3, 10.0), "factor on the Sobel kernel"] = 0.25,
        padding: Annotated[Padding, "what lies outside the image"] = "zero",
        directions: Annotated[
            Literal["mean", "sum", "magnitude"], "how horizontal and vertical are put together"
        ] = "mean",
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.channels = channels
        self.scale = scale
        self.padding: Padding = padding
        self.directions = directions

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        if self.directions == "magnitude":
            edges = self._magnitude(sr) - self._magnitude(hr)
        else:
            # Sobel and luma are linear: the edges of the difference are the difference of the edges.
            edges = self._derivatives(sr - hr)
        size = edges.abs() if self.criterion == "l1" else edges.square()
        return 2 * size.mean() if self.directions == "sum" else size.mean()

    def _derivatives(self, images: Tensor) -> Tensor:
        if self.channels == "luma":
            images = luma(images)
        return sobel(images, scale=self.scale, padding=self.padding)

    def _magnitude(self, images: Tensor) -> Tensor:
        return torch.sqrt(self._derivatives(images).square().sum(dim=0) + 1e-6)
