"""MSRResNet: the generator of SRGAN (Ledig et al., CVPR 2017, arXiv 1609.04802) without batch
normalisation, as Wang et al. use it beside ESRGAN (ECCVW 2018, arXiv 1809.00219)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from torch import nn
from torch.nn import functional as F

from workers.models._registry import Range, register

if TYPE_CHECKING:
    from torch import Tensor


@register("msrresnet")
class MSRResNet(nn.Module):
    """MSRResNet (SRResNet of Ledig et al. 2017 without batch norm): residual over a bilinear image;
    1.5 M at x4.

    Blocks start at a tenth of Kaiming's deviation, so that an untrained network is nearly linear.
    """

    def __init__(
        self,
        *,
        scale: int,
        width: Annotated[int, Range(8, 256, "Channels.")] = 64,
        depth: Annotated[int, Range(1, 64, "Residual blocks.")] = 16,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.upscale = nn.Sequential(*_upscale(width, scale))
        self.refine = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.body(F.leaky_relu(self.first(lr), 0.1))
        detail = self.last(F.leaky_relu(self.refine(self.upscale(features)), 0.1))
        height, width = lr.shape[-2:]
        size = (height * self.scale, width * self.scale)
        sr: Tensor = detail + F.interpolate(lr, size, mode="bilinear", align_corners=False)
        return sr


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.second(F.relu(self.first(features)))
        return out


def _upscale(width: int, scale: int) -> list[nn.Module]:
    """One pixel shuffle for x2 and x3, two of x2 for x4."""
    layers: list[nn.Module] = []
    for step in (2, 2) if scale == 4 else (scale,):
        layers += [
            nn.Conv2d(width, width * step**2, 3, padding=1),
            nn.PixelShuffle(step),
            nn.LeakyReLU(0.1),
        ]
    return layers
