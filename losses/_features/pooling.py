"""The poolings a backbone may have in place of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import UnsuitableInput, full_precision

_EPS = 1e-12


class Pool(nn.Module):
    """Halves a feature map: max, avg (both over the backbone's own window), or l2.

    l2 is √(h ∗ φ² + 1e-12) with the 3×3 Hanning window h = [1 2 1]ᵀ[1 2 1]/16, stride 2, zeros
    around: no aliasing (Hénaff, Simoncelli, ICLR 2016; DISTS). Its size is ⌈n/2⌉, where a VGG's max
    gives ⌊n/2⌋. Raises `UnsuitableInput` for maps smaller than the window.
    """

    hanning: Tensor

    def __init__(self, kind: str, window: int, *, padding: int = 0, ceil: bool = False) -> None:
        super().__init__()
        binomial = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("hanning", torch.outer(binomial, binomial), persistent=False)
        self.kind = kind
        self.window = window
        self.padding = padding
        self.ceil = ceil

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "l2":
            return self._root_mean_square(x)
        least = 2 if self.ceil else self.window - 2 * self.padding
        if min(x.shape[-2:]) < least:
            raise UnsuitableInput(
                f"A feature map of {x.shape[-2]}×{x.shape[-1]} cannot be pooled any further; take an "
                "earlier layer or larger images."
            )
        if self.kind == "avg":
            return F.avg_pool2d(x, self.window, 2, self.padding, self.ceil)
        return F.max_pool2d(x, self.window, 2, self.padding, ceil_mode=self.ceil)

    def _root_mean_square(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        # Squares of half precision would lose the small ones.
        with torch.autocast(x.device.type, enabled=False):
            squares = full_precision(x).square()
            window = self.hanning.to(squares.dtype).expand(channels, 1, 3, 3)
            means = F.conv2d(squares, window, stride=2, padding=1, groups=channels)
        return torch.sqrt(means + _EPS).to(x.dtype)
