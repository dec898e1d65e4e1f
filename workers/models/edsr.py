"""EDSR: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017,
arXiv 1707.02921."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from torch import nn

from workers.models._registry import Range, register

if TYPE_CHECKING:
    from torch import Tensor

#: Mean RGB of the DIV2K training photographs, as in the authors' code.
_MEAN = (0.4488, 0.4371, 0.4040)


@register("edsr")
class EDSR(nn.Module):
    """EDSR (Lim et al. 2017): residual blocks without normalisation; the baseline has 1.5 M at x4.

    Default: the baseline, 64 channels and 16 blocks. The full model is 256 channels, 32 blocks and
    residual_scale 0.1. The mean colour of DIV2K is taken off before and added after.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        scale: int,
        width: Annotated[int, Range(8, 512, "Channels.")] = 64,
        depth: Annotated[int, Range(1, 64, "Residual blocks.")] = 16,
        residual_scale: Annotated[float, Range(0.01, 1.0, "Factor on what a block adds.")] = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(
            *(_Block(width, residual_scale) for _ in range(depth)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.tail = nn.Sequential(*_upscale(width, scale), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr - self.mean)
        sr: Tensor = self.tail(features + self.body(features)) + self.mean
        return sr


class _Block(nn.Module):
    def __init__(self, width: int, residual_scale: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.residual_scale = residual_scale

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.residual_scale * self.second(torch.relu(self.first(features)))
        return out


def _upscale(width: int, scale: int) -> list[nn.Module]:
    """One pixel shuffle for x2 and x3, two of x2 for x4."""
    layers: list[nn.Module] = []
    for step in (2, 2) if scale == 4 else (scale,):
        layers += [nn.Conv2d(width, width * step**2, 3, padding=1), nn.PixelShuffle(step)]
    return layers
