"""Multi-scale structural dissimilarity mixed with an L1 under the widest window."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput, image_pair
from losses._registry import register
from losses._similarity import moments
from losses._spec import Range
from losses._windows import filtered, gaussian, window

#: Deviations of the windows in pixels; all are 33 px wide, twice the widest deviation to each side.
SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)
_SIDE = 2 * int(2 * SIGMAS[-1]) + 1
#: How often a channel has a window, of three of each in a row that the channels share out in fives.
_INTERLEAVED = Counter((place // 5, place // 3) for place in range(3 * len(SIGMAS)))


@register("ms_ssim_l1", family="structure", side="distortion", share=(0.0, 0.8), cost="high")
class MsSsimL1(nn.Module):
    """Factor times mean of α(1 - l·Π cs) + (1 - α)·G|SR - HR|, scales being windows instead of halvings.

    In each channel and pixel: l under the Gaussian of deviation 8, cs under those of 0.5, 1, 2, 4 and 8,
    and the L1 error blurred by G, the one of 8; α = 0.025, black borders. kornia's MS_SSIMLoss is this
    with its `compensation`, factor 200. Nothing is halved, so that any patch will do, at the price of
    ten 33-px filters.

    windows interleaved: one product a pixel, of fifteen cs, red's under deviations .5 .5 .5 1 1, green's
    under 1 2 2 2 4 and blue's under 4 4 8 8 8, and of blue's l, cubed: what a grouped convolution makes
    of windows listed by deviation in traiNNer-redux's msssiml1loss (α = 0.1) and in the code it is from.

    Images (N, C, H, W) in [0, 1]; 0 for equal images. Zhao, Gallo, Frosio, Kautz, "Loss functions for image
    restoration with neural networks", IEEE TCI 2017.
    """

    def __init__(
        self,
        alpha: Annotated[float, Range(0.0, 1.0), "α: share of the structural part"] = 0.025,
        factor: Annotated[float, Range(1e-6, 1e6), "multiplies the value; kornia has 200"] = 1.0,
        k1: Annotated[float, Range(1e-6, 1.0), "K1: √C1, steadies dark regions"] = 0.01,
        k2: Annotated[float, Range(1e-6, 1.0), "K2: √C2, steadies flat regions"] = 0.03,
        windows: Annotated[
            Literal["each_channel", "interleaved"], "which channels see which windows"
        ] = "each_channel",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.factor = factor
        self.interleaved = windows == "interleaved"
        self.constants = (k1**2, k2**2)
        self.windows = [window(gaussian(_SIDE, sigma, single=True), "zero") for sigma in SIGMAS]

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        product = self._across_channels(sr, hr) if self.interleaved else self._by_channel(sr, hr)
        widest = [self.windows[-1]]
        blurred = filtered((sr - hr).abs(), widest, widest).mean()
        structural = 1 - product.mean()
        return self.factor * torch.lerp(blurred, structural, self.alpha)

    def _by_channel(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return l·Π cs of every channel and pixel, (N, C, H, W)."""
        found = [moments(sr, hr, taps, *self.constants) for taps in self.windows]
        product = found[-1].similarity()
        for scale in found[:-1]:
            product = product * scale.structure()
        return product

    def _across_channels(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the one product of every pixel, (N, 1, H, W)."""
        if sr.shape[1] != 3:
            raise UnsuitableInput(
                f"Interleaved windows need 3 channels (RGB), not {sr.shape[1]}; take each_channel."
            )
        found = {
            (c, scale): moments(
                sr[:, c : c + 1], hr[:, c : c + 1], self.windows[scale], *self.constants
            )
            for c, scale in _INTERLEAVED
        }
        product = found[2, len(SIGMAS) - 1].luminance() ** 3
        for key, times in _INTERLEAVED.items():
            product = product * found[key].structure() ** times
        return product
