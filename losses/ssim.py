"""Structural dissimilarity."""

from __future__ import annotations

from typing import Annotated

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


@register("ssim", family="structure", side="distortion", share=(0.0, 0.8), cost="medium")
class Ssim(nn.Module):
    """1 - mean SSIM over windows, channels and batch, or half of it (`halved`, kornia's (1 - SSIM)/2).

    SSIM = (2μxμy + C1)(2σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)) in Gaussian windows, C1 = k1²,
    C2 = k2², variances with the window's weights (no n/(n-1)). padding valid: windows inside the image
    (the 2004 paper, piq, pytorch-msssim, BasicSR's metric); reflect: one around every pixel
    (kornia's `same`); zero: the same over a black border (KAIR, pytorch-ssim); valid_or_zero: valid, but
    zero for images smaller than the window. `clipped` raises negative (2σxy + C2) to 0 (both
    traiNNer-redux). Nothing is downsampled: piq shrinks images above 384 px first unless told
    downsample=False. `single_window` rounds the window as pytorch-msssim and KAIR do, which moves
    float64 gradients by 1e-5.

    Images (N, C, H, W) in [0, 1], C = 3 for luma (BT.601), sides of at least `window` px (valid);
    value in [0, 2], 0 for equal images. Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment:
    from error visibility to structural similarity", IEEE TIP 2004.
    """

    def __init__(
        self,
        window: Annotated[int, Range(3, 65), "side of the window in pixels, odd"] = 11,
        sigma: Annotated[float, Range(0.1, 20.0), "deviation of the Gaussian in pixels"] = 1.5,
        padding: Annotated[WindowPadding, "what windows at the border see"] = "valid",
        channels: Annotated[Channels, "similarity of each channel, or of BT.601 luma"] = "rgb",
        halved: Annotated[bool, "whether the value is divided by 2"] = False,
        k1: Annotated[float, Range(1e-6, 1.0), "K1: √C1, steadies dark regions"] = 0.01,
        k2: Annotated[float, Range(1e-6, 1.0), "K2: √C2, steadies flat regions"] = 0.03,
        single_window: Annotated[
            bool, "whether the window is rounded to float32, whatever the images are"
        ] = False,
        clipped: Annotated[bool, "whether windows unlike each other count as unrelated"] = False,
    ) -> None:
        super().__init__()
        self.taps = similarity_window("ssim", window, sigma, padding, single=single_window)
        self.least = least_side(window, padding)
        self.padding: WindowPadding = padding
        self.clipped = clipped
        self.channels: Channels = channels
        self.factor = 0.5 if halved else 1.0
        self.constants = (k1**2, k2**2)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        require_side(sr, self.least, "lower ssim.window or train on larger patches")
        sr, hr = in_channels(sr, self.channels), in_channels(hr, self.channels)
        found = moments(sr, hr, fitted(self.taps, sr, self.padding), *self.constants)
        similarity = (found.clipped() if self.clipped else found).similarity()
        return self.factor * (1 - similarity.mean())
