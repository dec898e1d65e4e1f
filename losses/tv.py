"""Total variation, a prior on SR alone."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import Reduction, UnsuitableInput, differences, image_pair, reduce
from losses._registry import register
from losses._spec import InvalidParameter, Range

Form = Literal["isotropic", "anisotropic", "squared", "norm"]
TvReduction = Literal["usual", "mean", "survey", "sum", "image_sum", "plane_sum"]

#: What a form's best known code does: the survey, BasicSR, KAIR, piq.
_USUAL: dict[Form, TvReduction] = {
    "isotropic": "survey",
    "anisotropic": "mean",
    "squared": "mean",
    "norm": "image_sum",
}


@register("tv", family="tv", side="distortion", share=(0.0, 0.3), cost="low", compares=False)
class TotalVariation(nn.Module):
    """Total variation of SR, which suppresses noise and ringing; HR is not used.

    form isotropic: √(dx² + dy² + ε²) on the (H-1)×(W-1) grid; anisotropic: |dx| + |dy|; squared:
    dx² + dy²; norm: √(Σ dx² + dy² + ε²) of a whole image (piq's `l2`, which is neither of the first
    two). dx, dy are forward differences of (N, C, H, W) images in [0, 1], at least 2×2.

    reduction survey: Σ / HWC, mean over the batch, as the survey prints it; mean: each derivative
    over its own count (BasicSR); sum: over everything, batch included (BasicSR's sum); image_sum:
    sum of an image, mean over the batch (piq's `l1`, `l2`, `l2_squared`); plane_sum: sum of a
    channel, mean over batch and channels (mean of kornia's result); usual: survey for isotropic,
    mean for anisotropic and squared, image_sum for norm. KAIR's TVLoss is squared, mean, factor 2.

    A flat image has 0, or about ε for isotropic, whose gradient is NaN there without ε. A `weight`
    map, (N, 1, H, W) or (N, C, H, W), is for mean and sum of anisotropic and squared: a difference
    has the weight of its left or upper pixel (BasicSR). Rudin, Osher, Fatemi 1992; Wang, Chen, Hoi,
    "Deep learning for image super-resolution: a survey", 2020.
    """

    def __init__(
        self,
        form: Annotated[Form, "which variation is summed"] = "isotropic",
        eps: Annotated[
            float, Range(1e-12, 1.0), "ε of isotropic and norm; keeps flat regions differentiable"
        ] = 1e-3,
        reduction: Annotated[TvReduction, "what the sum is divided by"] = "usual",
        factor: Annotated[float, Range(1e-6, 1e6), "multiplies the value; KAIR has 2"] = 1.0,
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.eps = eps
        self.reduction: TvReduction = _USUAL[form] if reduction == "usual" else reduction
        self.factor = factor
        if form == "norm" and self.reduction in ("mean", "plane_sum"):
            raise InvalidParameter(
                f"tv.reduction is {reduction!r}, but the norm of a whole image has no counts or planes to "
                "divide by; use image_sum, sum or survey."
            )

    def forward(self, sr: Tensor, hr: Tensor, *, weight: Tensor | None = None) -> Tensor:
        sr, _ = image_pair(sr, hr)
        if min(sr.shape[-2:]) < 2:
            raise UnsuitableInput(
                f"tv needs SR of at least 2×2 px, not {tuple(sr.shape[-2:])}; enlarge the patch."
            )
        if weight is not None:
            return self.factor * self._weighted(sr, weight)
        if self.reduction == "mean":
            return self.factor * self._total(sr, "mean")
        n, c, height, width = sr.shape
        count = {"sum": 1, "image_sum": n, "plane_sum": n * c, "survey": n * c * height * width}
        return self.factor * self._total(sr, "sum") / count[self.reduction]

    def _total(self, sr: Tensor, how: Reduction) -> Tensor:
        """Return the variation with its derivatives summed, or averaged over their own counts."""
        dx, dy = differences(sr)
        if self.form == "norm":
            energy = dx.square().flatten(1).sum(dim=1) + dy.square().flatten(1).sum(dim=1)
            return torch.sqrt(energy + self.eps**2).sum()
        if self.form == "isotropic":
            slope = dx[..., :-1, :].square() + dy[..., :, :-1].square()
            # In place: nothing needs the sum again, and on a CPU fresh memory costs more than the root.
            return reduce(slope.add_(self.eps**2).sqrt_(), how)
        return reduce(self._size(dx), how) + reduce(self._size(dy), how)

    def _size(self, derivative: Tensor) -> Tensor:
        return derivative.abs() if self.form == "anisotropic" else derivative.square()

    def _weighted(self, sr: Tensor, weight: Tensor) -> Tensor:
        if self.form not in ("anisotropic", "squared") or self.reduction not in ("mean", "sum"):
            raise InvalidParameter(
                f"tv with form {self.form!r} and reduction {self.reduction!r} takes no weight map; use "
                "anisotropic or squared with mean or sum."
            )
        dx, dy = differences(sr)
        how: Reduction = "mean" if self.reduction == "mean" else "sum"
        along_x = reduce(self._size(dx), how, weight[..., :, :-1])
        return along_x + reduce(self._size(dy), how, weight[..., :-1, :])
