"""ESPCN: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
Sub-Pixel Convolutional Neural Network", CVPR 2016, arXiv 1609.05158."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from torch import nn

from workers.models._registry import Range, register

if TYPE_CHECKING:
    from torch import Tensor


@register("espcn")
class ESPCN(nn.Module):
    """ESPCN (Shi et al. 2016): three convolutions at LR size and a pixel shuffle; 37 K at x4.

    As in the paper (5x5, 3x3, 3x3, tanh), on RGB instead of luma.
    """

    def __init__(
        self,
        *,
        scale: int,
        width: Annotated[int, Range(8, 256, "Channels of the first layer; the second: half.")] = 64,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 5, padding=2)
        self.second = nn.Conv2d(width, width // 2, 3, padding=1)
        self.last = nn.Conv2d(width // 2, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        features = torch.tanh(self.second(torch.tanh(self.first(lr))))
        sr: Tensor = self.shuffle(self.last(features))
        return sr
