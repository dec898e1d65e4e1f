"""Multi-scale structural dissimilarity."""

from __future__ import annotations

from functools import reduce
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import image_pair
from losses._registry import register
from losses._similarity import (
    Channels,
    WindowPadding,
    fitted,
    in_channels,
    least_side,
    moments,
    similarity_window,
)
from losses._spec import Range
from losses._windows import require_side

#: What people weigh each scale, finest first (Wang et al. 2003).
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

#: The dimensions of (N, C, H, W) that each averaging takes the mean of.
_OVER = {"channel": (2, 3), "image": (1, 2, 3), "batch": (0, 1, 2, 3)}


@register("ms_ssim", family="structure", side="distortion", share=(0.0, 0.8), cost="medium")
class MsSsim(nn.Module):
    """1 - MS-SSIM: contrast-structure at five scales and luminance at the coarsest, multiplied.

    Π_j max(cs_j, 0)^w_j · max(l·cs_5, 0)^w_5 of means over an image's windows, w = .0448, .2856, .3001,
    .2363, .1333; each scale halves the images by 2×2 means. convention pytorch_msssim: odd sides are
    halved over a border of zeros (mssim.pytorch too), and the window is rounded to float32; piq: when
    a side is odd, the first row and column are repeated, and the weights, whose sum is 1.0001, are
    made to sum to 1. averaging channel: a product for each image and channel, then their mean; image:
    a product for each image; batch: every scale's mean over all first, which couples the batch (with
    padding zero: mssim.pytorch, the core of neosr's mssim).

    clip window raises cs to 0 in every window, not a scale's mean. luminance false leaves l out.
    combination sum: Σ w_j · mean_j with Σ w = 1. traiNNer-redux's mssimloss is channels luma,
    averaging image, clip window, luminance false, padding valid_or_zero.

    Fewer `scales` than 5 take the first weights, made to sum to 1: not in the paper, but made for
    patches. Images (N, C, H, W) in [0, 1]; sides of at least (window - 1)·2^(scales - 1) + 1 px, 161 by
    default, 41 with three scales; padding and channels as in `ssim`. 0 for equal images; a product
    with a factor at 0 has value 1 and no gradient. Wang, Simoncelli, Bovik, "Multiscale structural
    similarity for image quality assessment", Asilomar 2003.
    """

    def __init__(
        self,
        scales: Annotated[int, Range(1, 5), "number of scales; each but one halves the image"] = 5,
        convention: Annotated[
            Literal["pytorch_msssim", "piq"], "whose way of halving odd sides, window and weights"
        ] = "pytorch_msssim",
        window: Annotated[int, Range(3, 65), "side of the window in pixels, odd"] = 11,
        sigma: Annotated[float, Range(0.1, 20.0), "deviation of the Gaussian in pixels"] = 1.5,
        padding: Annotated[WindowPadding, "what windows at the border see"] = "valid",
        channels: Annotated[Channels, "similarity of each channel, or of BT.601 luma"] = "rgb",
        averaging: Annotated[
            Literal["channel", "image", "batch"], "what has a product of its own"
        ] = "channel",
        k1: Annotated[float, Range(1e-6, 1.0), "K1: √C1, steadies dark regions"] = 0.01,
        k2: Annotated[float, Range(1e-6, 1.0), "K2: √C2, steadies flat regions"] = 0.03,
        clip: Annotated[Literal["mean", "window"], "what is raised to 0 if negative"] = "mean",
        luminance: Annotated[bool, "whether the coarsest scale compares brightness"] = True,
        combination: Annotated[
            Literal["product", "sum"], "how scales are put together"
        ] = "product",
    ) -> None:
        super().__init__()
        self.taps = similarity_window(
            "ms_ssim", window, sigma, padding, single=convention == "pytorch_msssim"
        )
        self.least = (least_side(window, padding) - 1) * 2 ** (scales - 1) + 1
        self.convention = convention
        self.channels: Channels = channels
        self.padding: WindowPadding = padding
        self.over = _OVER[averaging]
        self.constants = (k1**2, k2**2)
        self.clip, self.luminance, self.combination = clip, luminance, combination
        chosen = WEIGHTS[:scales]
        # The five published ones sum to 1.0001: piq makes that 1, pytorch-msssim lets it be.
        published = scales == 5 and convention == "pytorch_msssim" and combination == "product"
        self.scale_weights = chosen if published else tuple(w / sum(chosen) for w in chosen)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        require_side(
            sr, self.least, "lower ms_ssim.scales or ms_ssim.window, or train on larger patches"
        )
        sr, hr = in_channels(sr, self.channels), in_channels(hr, self.channels)
        means = [self._compared(sr, hr, last=len(self.scale_weights) == 1)]
        for left in range(len(self.scale_weights) - 2, -1, -1):
            sr, hr = self._halved(sr), self._halved(hr)
            means.append(self._compared(sr, hr, last=left == 0))
        return 1 - self._combined(means).mean()

    def _compared(self, sr: Tensor, hr: Tensor, *, last: bool) -> Tensor:
        """Return the mean similarity of one scale, of each image and channel or of more."""
        found = moments(sr, hr, fitted(self.taps, sr, self.padding), *self.constants)
        if self.clip == "window":
            found = found.clipped()
        similarity = found.similarity() if last and self.luminance else found.structure()
        return similarity.mean(dim=self.over)

    def _combined(self, means: list[Tensor]) -> Tensor:
        pairs = list(zip(means, self.scale_weights, strict=True))
        if self.combination == "sum":
            return torch.stack([weight * mean for mean, weight in pairs]).sum(dim=0)
        return reduce(torch.mul, (_power(mean, weight) for mean, weight in pairs))

    def _halved(self, images: Tensor) -> Tensor:
        odd = [side % 2 for side in images.shape[-2:]]
        if self.convention == "pytorch_msssim":
            return F.avg_pool2d(images, 2, padding=odd)
        if any(odd):
            images = F.pad(images, (1, 0, 1, 0), mode="replicate")
        return F.avg_pool2d(images, 2)


def _power(similarity: Tensor, weight: float) -> Tensor:
    """Return max(similarity, 0)^weight, with gradient 0 instead of infinity where it is 0."""
    positive = similarity > 0
    return torch.where(positive, torch.where(positive, similarity, 1.0) ** weight, 0.0)
