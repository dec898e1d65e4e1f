"""Whether SR, shrunk in a fixed way, is the LR image again."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import Criterion, UnsuitableInput, distance, full_precision, image_pair
from losses._registry import register
from losses._spec import Range

Kernel = Literal["bicubic", "area"]
LrCriterion = Literal[Criterion, "charbonnier"]


@register(
    "lr_consistency",
    family="cycle",
    side="distortion",
    share=(0.0, 0.5),
    cost="low",
    compares=False,
)
class LRConsistency(nn.Module):
    """How far SR, shrunk by a fixed antialiased bicubic filter, is from the LR image.

    distance(shrink(SR), LR), criterion l1: mean |·|; l2: mean square; survey: Euclidean norm of each
    sample / hwc; frobenius: norm of the batch (Wang, Chen, Hoi, "Deep learning for image
    super-resolution: a survey", 2020, cycle consistency, with a filter in the place of the network);
    charbonnier: mean √(·² + eps²), least eps, not 0 (traiNNer-redux; its eps 1e-12 is ours 1e-6).

    target lr: the given LR (MOBOSR, with antialias false); hr: HR shrunk by the same filter
    (traiNNer-redux's BicubicLoss, and its AverageLoss with kernel area), which asks nothing of how LR
    was made. kernel bicubic: cubic convolution with a = -0.5 if antialiased, its width times the scale
    (Pillow; MATLAB's imresize but for the edges), and a = -0.75 if not, which reads the 4×4 pixels
    around each LR pixel's centre: at ×2 and ×4 all of HR, but at ×4 four of 16 with weight 0.35, the
    other 12 with -0.06 or 0.01; at ×3 one of 9; beyond ×4 most are ignored. area: mean of every
    block. Only right for data whose LR was made so: with blur, noise or JPEG in LR use `cycle` or
    target hr.

    Images (N, 3, H, W) in [0, 1], LR (N, 3, H/scale, W/scale). Target hr is 0 at SR = HR; target lr is
    not, unless LR was made by this filter without rounding. Many SR share one LR.
    """

    def __init__(
        self,
        scale: Annotated[int, Range(0, 16), "HR's side over LR's; 0: from LR's size"] = 0,
        target: Annotated[Literal["lr", "hr"], "what shrunk SR is compared with"] = "lr",
        criterion: Annotated[LrCriterion, "distance of the shrunk images"] = "l1",
        antialias: Annotated[bool, "widen the bicubic filter by the scale"] = True,
        kernel: Annotated[Kernel, "filter that shrinks"] = "bicubic",
        eps: Annotated[float, Range(1e-12, 1), "of charbonnier, squared under the root"] = 1e-6,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.target = target
        self.criterion: LrCriterion = criterion
        self.eps = eps
        self.antialias = antialias
        self.kernel: Kernel = kernel
        self.needs = ("lr",) if target == "lr" or scale == 0 else ()

    def forward(self, sr: Tensor, hr: Tensor, *, lr: Tensor | None = None) -> Tensor:
        sr, hr = image_pair(sr, hr)
        size = self._size(sr, lr)
        if self.target == "lr" and lr is not None:
            return self._distance(self._shrunk(sr, size) - full_precision(lr))
        # Every criterion looks at the difference only, and shrinking is linear: one pass is enough.
        return self._distance(self._shrunk(sr - hr, size))

    def _distance(self, difference: Tensor) -> Tensor:
        if self.criterion == "charbonnier":
            return torch.sqrt(difference.square() + self.eps**2).mean()
        return distance(difference, torch.zeros_like(difference), self.criterion)

    def _shrunk(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        if self.kernel == "area":
            return F.adaptive_avg_pool2d(images, size)
        return F.interpolate(images, size, mode="bicubic", antialias=self.antialias)

    def _size(self, sr: Tensor, lr: Tensor | None) -> tuple[int, int]:
        """Return the shrunk images' height and width, or raise `UnsuitableInput`."""
        n, channels, height, width = sr.shape
        if lr is None and "lr" in self.needs:
            raise UnsuitableInput(
                "lr_consistency needs the LR batch SR was made from; hand over lr, or set target hr and scale."
            )
        scale = self.scale or (max(height // lr.shape[-2], 1) if lr is not None else 1)
        size = (height // scale, width // scale)
        if height % scale or width % scale:
            raise UnsuitableInput(f"SR is {height}×{width}, which scale {scale} does not divide.")
        if lr is not None and lr.shape != (n, channels, *size):
            raise UnsuitableInput(
                f"SR is {tuple(sr.shape)}, LR {tuple(lr.shape)}, but at scale {scale} LR must be "
                f"{(n, channels, *size)}; correct lr_consistency.scale or LR."
            )
        return size
