"""Multi-scale structural similarity: Wang, Simoncelli and Bovik, Asilomar 2003."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import losses
from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register_each
from workers.metrics._still import ImageUnusable

if TYPE_CHECKING:
    from workers.metrics._still import Still

_DISSIMILARITY = losses.build("ms_ssim")


@register_each(
    MetricInfo(
        name="ms_ssim",
        summary="MS-SSIM (Wang 2003) of each RGB channel, averaged: five scales of weights .0448, .2856, "
        ".3001, .2363, .1333, 11×11 Gaussian of sigma 1.5, valid region, halved by 2×2 means, constants "
        "for peak 255, images rounded to 8 bits, without a border of scale pixels. 1: equal. Sides from "
        "161 pixels inside the border. As in pytorch-msssim.",
        direction="maximize",
        side="distortion",
        cost="medium",
    )
)
@torch.no_grad()
def ms_ssim(still: Still) -> float:
    """1 less the `ms_ssim` loss, in float64."""
    sr, hr = still.batches()
    try:
        dissimilarity = _DISSIMILARITY(sr, hr)
    except losses.UnsuitableInput as error:
        raise ImageUnusable(
            f"ms_ssim needs 161 pixels a side inside the border, got {hr.shape[-1]}×{hr.shape[-2]}"
        ) from error
    return 1 - float(dissimilarity.item())
