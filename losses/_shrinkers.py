"""Networks that are trained to make LR from an SR or HR image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import UnsuitableInput


class Shrinker(nn.Module):
    """LR (N, 3, H/s, W/s) from images (N, 3, H, W) in [0, 1], by a strided convolution and `depth` more.

    The mean of every s×s block, plus what the network adds: a 3s×3s convolution with stride s to
    `channels`, `depth` 3×3, leaky ReLU 0.2 between, to 3 channels. The last layer starts at zero, so
    that training starts from the box filter instead of noise. Weights come from torch's global
    generator; the caller seeds it. There are no buffers: the state dict is all there is.
    """

    def __init__(self, scale: int, channels: int, depth: int) -> None:
        super().__init__()
        entry = nn.Conv2d(3, channels, 3 * scale, stride=scale, padding=scale)
        layers: list[nn.Module] = [entry, nn.LeakyReLU(0.2)]
        for _ in range(depth):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2)]
        last = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # typed optional, but there is one
        self.detail = nn.Sequential(*layers, last)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if height % self.scale or width % self.scale:
            raise UnsuitableInput(
                f"A shrinker of scale {self.scale} needs sides that it divides, not {(height, width)}."
            )
        shrunk: Tensor = F.avg_pool2d(images, self.scale) + self.detail(images)
        return shrunk
