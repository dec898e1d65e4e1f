"""How far the whole picture's colour has moved: a tint, not noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register_each

if TYPE_CHECKING:
    from torch import Tensor

    from workers.metrics._still import Still

#: Cb and Cr of BT.601 studio swing, 16..240 around 128, from RGB in 0..255.
_CHROMA = ((-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))


def chroma_shift(sr: Tensor, hr: Tensor) -> Tensor:
    """Return the mean shift (ΔCb, ΔCr), SR less HR, in code values, of RGB (3, H, W) in 0..255."""
    # Chroma is linear in RGB, so the mean of the difference says all of it.
    shift = (sr - hr).mean(dim=(-2, -1))
    matrix = torch.tensor(_CHROMA, dtype=shift.dtype, device=shift.device) / 255
    return matrix @ shift


@register_each(
    MetricInfo(
        name="colour_drift",
        summary="√(ΔCb² + ΔCr²), where ΔCb and ΔCr are SR less HR, averaged over the picture: the norm "
        "of the mean shift, so that noise and errors that cancel do not count, and a tint does. Cb and "
        "Cr of BT.601 studio swing (16..240), of images rounded to 8 bits, without a border of scale "
        "pixels. 0: no tint; 1 is a step of 8-bit chroma.",
        direction="minimize",
        side="distortion",
        unit="code values",
    )
)
def colour_drift(still: Still) -> float:
    """The size of the tint in code values of 8-bit chroma; its direction is `chroma_shift`."""
    shift = chroma_shift(still.inside(still.sr), still.inside(still.hr))
    return float(torch.linalg.vector_norm(shift).item())
