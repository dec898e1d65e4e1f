"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register_each

if TYPE_CHECKING:
    from torch import Tensor

    from workers.metrics._still import Still

CAP = 100.0  #: dB; what equal images get, since infinity is no score to average or to store


def psnr(sr: Tensor, hr: Tensor, *, peak: float) -> float:
    """Return 10·log10(peak² / mean squared difference) in dB, at most CAP. Any equal shapes."""
    error = (sr - hr).square().mean().item()
    return CAP if error == 0 else min(CAP, 10 * math.log10(peak**2 / error))


@register_each(
    MetricInfo(
        name="psnr_y",
        summary="PSNR on luma: Y of BT.601 studio swing, not rounded, of images rounded to 8 bits, "
        "peak 255, without a border of scale pixels; equal images: 100 dB. As in BasicSR.",
        direction="maximize",
        side="distortion",
        unit="dB",
    )
)
def psnr_y(still: Still) -> float:
    """PSNR-Y in dB, BasicSR's `test_y_channel`."""
    return psnr(still.inside(still.sr_luma), still.inside(still.hr_luma), peak=255)


@register_each(
    MetricInfo(
        name="psnr_rgb",
        summary="PSNR over the three channels of images rounded to 8 bits, peak 255, without a border "
        "of scale pixels; equal images: 100 dB. As in BasicSR.",
        direction="maximize",
        side="distortion",
        unit="dB",
    )
)
def psnr_rgb(still: Still) -> float:
    """PSNR of RGB in dB: one mean over all channels."""
    return psnr(still.inside(still.sr), still.inside(still.hr), peak=255)
