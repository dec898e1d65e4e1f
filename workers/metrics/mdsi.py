"""Mean deviation similarity index: Nafchi, Shahkolaei, Hedjam and Cheriet, IEEE Access 2016,
arXiv 1608.07433."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register_each

if TYPE_CHECKING:
    from torch import Tensor

    from workers.metrics._still import Still

#: Luminance and two chromaticity channels of the paper's eq. 2.
_LHM = ((0.2989, 0.5870, 0.1140), (0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
_C1, _C2, _C3 = 140.0, 55.0, 550.0  #: the paper's constants, for values in 0..255
_ALPHA = 0.6  #: share of gradient similarity beside chromaticity similarity
_POWER = 0.25  #: both q and o of the paper


def mdsi(sr: Tensor, hr: Tensor) -> float:
    """Return MDSI of RGB (3, H, W) in 0..255: 0 for equal images, larger is worse.

    Sum combination, rho = 1. Images with a short side of 384 pixels and more are averaged down
    first, as in the authors' code.
    """
    sr_lhm, hr_lhm = _channels(sr), _channels(hr)
    gradient = _gradient_similarity(sr_lhm[0], hr_lhm[0])
    chroma = _chromaticity_similarity(sr_lhm[1:], hr_lhm[1:])
    # The sum may be negative, and then its fourth root is complex.
    similarity = torch.complex(_ALPHA * gradient + (1 - _ALPHA) * chroma, torch.zeros_like(chroma))
    root = similarity.pow(_POWER)
    return float((root - root.mean()).abs().mean().pow(_POWER).item())


def _channels(rgb: Tensor) -> Tensor:
    """Averaged to about 256 pixels on the short side, as L, H and M."""
    step = max(1, round(min(rgb.shape[-2:]) / 256))
    before, after = (step - 1) // 2, step // 2
    small = F.avg_pool2d(F.pad(rgb, (before, after, before, after)), step)
    return torch.einsum("kc,chw->khw", small.new_tensor(_LHM), small)


def _gradient_similarity(sr: Tensor, hr: Tensor) -> Tensor:
    """Similarity of edges, with the mean image as a third party that tells lost edges from new."""
    from_sr, from_hr, from_mean = _gradients(torch.stack([sr, hr, (sr + hr) / 2]))
    return (
        _similarity(from_sr, from_hr, _C1)
        + _similarity(from_sr, from_mean, _C2)
        - _similarity(from_hr, from_mean, _C2)
    )


def _gradients(images: Tensor) -> Tensor:
    """Prewitt gradient magnitudes of (N, H, W), zero beyond the border."""
    rows = images.new_tensor([[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]]) / 3
    kernels = torch.stack([rows, rows.T])[:, None]
    return F.conv2d(images[:, None], kernels, padding=1).square().sum(dim=1).sqrt()


def _similarity(first: Tensor, second: Tensor, constant: float) -> Tensor:
    return (2 * first * second + constant) / (first.square() + second.square() + constant)


def _chromaticity_similarity(sr: Tensor, hr: Tensor) -> Tensor:
    """Similarity of both chromaticity channels at once, one formula for the two."""
    product = (sr * hr).sum(dim=0)
    squares = (sr.square() + hr.square()).sum(dim=0)
    return (2 * product + _C3) / (squares + _C3)


@register_each(
    MetricInfo(
        name="mdsi",
        summary="MDSI (Nafchi 2016), sum combination, paper's constants, on RGB rounded to 8 bits, "
        "without a border of scale pixels, averaged down to about 256 pixels a side. 0: equal.",
        direction="minimize",
        side="perception",
    )
)
def mdsi_rgb(still: Still) -> float:
    """MDSI inside the border."""
    return mdsi(still.inside(still.sr), still.inside(still.hr))
