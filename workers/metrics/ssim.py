"""Structural similarity: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error
Visibility to Structural Similarity", IEEE TIP 2004."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register_each
from workers.metrics._still import ImageUnusable

if TYPE_CHECKING:
    from torch import Tensor

    from workers.metrics._still import Still

WINDOW, SIGMA = 11, 1.5
_DEFINITION = (
    "SSIM (Wang 2004), 11×11 Gaussian of sigma 1.5, valid region, constants for peak 255, no "
    "downsampling, images rounded to 8 bits, without a border of scale pixels. As in BasicSR."
)


def ssim(sr: Tensor, hr: Tensor, *, peak: float) -> float:
    """Return the mean SSIM over windows and channels of (..., H, W), 1 for equal images.

    Raises ImageUnusable for a side shorter than the window of 11 pixels.
    """
    if min(sr.shape[-2:]) < WINDOW:
        raise ImageUnusable(f"SSIM needs {WINDOW} pixels a side, got {tuple(sr.shape[-2:])}")
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    # The two variances only occur as their sum, so four blurs do the work of five.
    maps = torch.stack([sr, hr, sr.square() + hr.square(), sr * hr])
    mean_sr, mean_hr, squares, product = _blur(maps)
    means = mean_sr.square() + mean_hr.square()
    cross = mean_sr * mean_hr
    luminance = (2 * cross + c1) / (means + c1)
    structure = (2 * (product - cross) + c2) / (squares - means + c2)
    return float((luminance * structure).mean().item())


def _blur(maps: Tensor) -> Tensor:
    """Gaussian means over all windows that fit. Shifted sums: float64 convolutions are slow."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    bell = torch.exp(-offsets.square() / (2 * SIGMA**2))
    taps = (bell / bell.sum()).tolist()
    for axis in (-2, -1):
        length = maps.shape[axis] - WINDOW + 1
        blurred = maps.narrow(axis, 0, length) * taps[0]
        for k, tap in enumerate(taps[1:], start=1):
            blurred.add_(maps.narrow(axis, k, length), alpha=tap)
        maps = blurred
    return maps


@register_each(
    MetricInfo(
        name="ssim_y",
        summary=f"On luma (Y of BT.601 studio swing, not rounded): {_DEFINITION}",
        direction="maximize",
        side="distortion",
    )
)
def ssim_y(still: Still) -> float:
    """SSIM of luma, BasicSR's `test_y_channel`."""
    return ssim(still.inside(still.sr_luma), still.inside(still.hr_luma), peak=255)


@register_each(
    MetricInfo(
        name="ssim_rgb",
        summary=f"Mean over the three channels: {_DEFINITION}",
        direction="maximize",
        side="distortion",
    )
)
def ssim_rgb(still: Still) -> float:
    """SSIM of each channel, averaged."""
    return ssim(still.inside(still.sr), still.inside(still.hr), peak=255)
