"""Compact: SRVGGNetCompact of Wang et al., "Real-ESRGAN", ICCVW 2021, arXiv 2107.10833."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from torch import nn
from torch.nn import functional as F

from workers.models._registry import Range, register

if TYPE_CHECKING:
    from torch import Tensor


@register("compact")
class Compact(nn.Module):
    """Compact (SRVGGNetCompact, Wang et al. 2021): plain convolutions at LR size over a nearest image;
    621 K at x4, 53 K with width 24 and depth 8.

    PReLU activations; starts near the enlarged input.
    """

    def __init__(
        self,
        *,
        scale: int,
        width: Annotated[int, Range(8, 256, "Channels.")] = 64,
        depth: Annotated[int, Range(1, 64, "Convolutions between the first and the last.")] = 16,
    ) -> None:
        super().__init__()
        self.scale = scale
        middle: list[nn.Module] = []
        for _ in range(depth):
            middle += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.PReLU(width),
            *middle,
            nn.Conv2d(width, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr: Tensor) -> Tensor:
        sr: Tensor = self.body(lr) + F.interpolate(lr, scale_factor=self.scale, mode="nearest")
        return sr
