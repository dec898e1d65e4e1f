"""FSRCNN: Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural Network",
ECCV 2016, arXiv 1608.00367."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from torch import nn

from workers.models._registry import Range, register

if TYPE_CHECKING:
    from torch import Tensor


@register("fsrcnn")
class FSRCNN(nn.Module):
    """FSRCNN (Dong et al. 2016): shrink, map and expand at LR size, then one deconvolution; 25 K.

    FSRCNN(d, s, m) of the paper with d=56, s=12, m=4 by default, on RGB. The deconvolution starts
    small (deviation 0.001), as in the paper.
    """

    def __init__(
        self,
        *,
        scale: int,
        width: Annotated[int, Range(8, 256, "Channels of the features, d.")] = 56,
        shrunk: Annotated[int, Range(4, 128, "Channels while mapping, s.")] = 12,
        depth: Annotated[int, Range(1, 32, "Mapping layers, m.")] = 4,
    ) -> None:
        super().__init__()
        mapping: list[nn.Module] = []
        for _ in range(depth):
            mapping += [nn.Conv2d(shrunk, shrunk, 3, padding=1), nn.PReLU(shrunk)]
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2),
            nn.PReLU(width),
            nn.Conv2d(width, shrunk, 1),
            nn.PReLU(shrunk),
            *mapping,
            nn.Conv2d(shrunk, width, 1),
            nn.PReLU(width),
        )
        self.upscale = nn.ConvTranspose2d(width, 3, 9, scale, padding=4, output_padding=scale - 1)
        nn.init.normal_(self.upscale.weight, std=0.001)

    def forward(self, lr: Tensor) -> Tensor:
        sr: Tensor = self.upscale(self.body(lr))
        return sr
