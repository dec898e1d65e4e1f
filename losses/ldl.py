"""Locally discriminative learning: an L1 where artefacts are suspected."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput, full_precision, image_pair
from losses._registry import register
from losses._spec import InvalidParameter, Range
from losses._windows import box, filtered, require_side
from losses._windows import window as centred


@register("ldl", family="artefact", side="distortion", share=(0.0, 0.5), cost="low")
class Ldl(nn.Module):
    """Mean M·|SR - HR| (l1), M an artefact map made of the residual and of a smoother network's SR.

    r = Σ_c |HR - SR|; M = var(r)^(1/5) · var of r in windows around each pixel (unbiased, reflected
    borders), and 0 where r is less than the residual of `averaged`, the SR of the generator's running
    average, (N, C, H, W). criterion l2: mean (M·d)²; charbonnier: mean √((M·d)² + 1e-12), floor 1e-6
    (traiNNer-redux has all three). gradient through_map, the default, lets gradient flow through M as
    BasicSR's and the authors' code do; detached treats M as constant. Where `averaged` is SR itself,
    before an average exists, nothing is masked: M is then large wherever errors are uneven.

    Images (N, C, H, W) in [0, 1], sides larger than window / 2; 0 with zero gradient for equal images.
    Liang, Zeng, Zhang, "Details or artifacts: a locally discriminative learning approach to realistic
    image super-resolution", CVPR 2022.
    """

    def __init__(
        self,
        criterion: Annotated[Literal["l1", "l2", "charbonnier"], "distance under the map"] = "l1",
        gradient: Annotated[
            Literal["through_map", "detached"], "whether the map is differentiated too"
        ] = "through_map",
        window: Annotated[int, Range(3, 31), "side of the local window in pixels, odd"] = 7,
    ) -> None:
        super().__init__()
        if window % 2 == 0:
            raise InvalidParameter(f"ldl.window is {window}, but must be odd to have a centre.")
        self.criterion = criterion
        self.gradient = gradient
        self.window = window

    def forward(self, sr: Tensor, hr: Tensor, *, averaged: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        if averaged.shape != sr.shape:
            raise UnsuitableInput(
                f"SR of the average is {tuple(averaged.shape)}, but must be {tuple(sr.shape)} as SR is."
            )
        require_side(sr, self.window // 2 + 1, "lower ldl.window or train on larger patches")
        suspected = artefact_map(sr, hr, full_precision(averaged).detach(), self.window)
        if self.gradient == "detached":
            suspected = suspected.detach()
        error = suspected * (sr - hr)
        if self.criterion == "l1":
            return error.abs().mean()
        if self.criterion == "l2":
            return error.square().mean()
        return torch.sqrt(error.square() + 1e-12).mean()


def artefact_map(sr: Tensor, hr: Tensor, averaged: Tensor, window: int = 7) -> Tensor:
    """Return M of `Ldl`, (N, 1, H, W), at least 0 but for rounding; differentiable in SR."""
    residual = (hr - sr).abs().sum(dim=1, keepdim=True)
    smoother = (hr - averaged).abs().sum(dim=1, keepdim=True)
    suspected = _fifth_root(residual.var(dim=(1, 2, 3), keepdim=True)) * _local_variance(
        residual, window
    )
    return torch.where(residual < smoother, 0.0, suspected)


def _local_variance(residual: Tensor, window: int) -> Tensor:
    """Return the unbiased variance of (N, 1, H, W) in a window around each pixel."""
    # Variance forgets the mean; without it, its two terms are small and their difference exact.
    centred_residual = residual - residual.mean(dim=(1, 2, 3), keepdim=True).detach()
    taps = centred(box(window), "reflect")
    mean, energy = filtered(
        torch.stack([centred_residual, centred_residual.square()]), [taps], [taps]
    ).unbind()
    count = window**2
    return (energy - mean.square()) * (count / (count - 1))


def _fifth_root(variance: Tensor) -> Tensor:
    """Return variance^(1/5), with gradient 0 instead of infinity where the residual is flat."""
    positive = variance > torch.finfo(variance.dtype).tiny
    return torch.where(positive, torch.where(positive, variance, 1.0) ** 0.2, 0.0)
