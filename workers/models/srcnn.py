"""SRCNN: Dong, Loy, He and Tang, "Image Super-Resolution Using Deep Convolutional Networks",
TPAMI 2016, arXiv 1501.00092."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from torch import nn
from torch.nn import functional as F

from workers.models._registry import Range, register

if TYPE_CHECKING:
    from torch import Tensor


@register("srcnn")
class SRCNN(nn.Module):
    """SRCNN 9-1-5 (Dong et al. 2016): bicubic enlargement, then three convolutions; 20 K.

    The enlargement is inside, so it takes LR like the others. RGB, and borders zero-padded so that
    the size is kept (the paper loses them).
    """

    def __init__(
        self,
        *,
        scale: int,
        width: Annotated[int, Range(8, 256, "Channels of the first layer; the second: half.")] = 64,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(width, width // 2, 1),
            nn.ReLU(),
            nn.Conv2d(width // 2, 3, 5, padding=2),
        )

    def forward(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        # With `antialias` torch uses the same cubic (a = -0.5) that made LR; without, another.
        large = F.interpolate(
            lr, (height * self.scale, width * self.scale), mode="bicubic", antialias=True
        )
        sr: Tensor = self.layers(large)
        return sr
