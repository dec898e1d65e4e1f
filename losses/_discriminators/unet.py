"""A verdict on every pixel, from its surroundings at every size."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from losses._discriminators.layers import Norm, check_size, inner, widths


class UNetDiscriminator(nn.Module):
    """Logits (N, 1, H, W), one per pixel of (N, 3, H, W) in [0, 1], by a U-Net with added skips.

    A 3×3 convolution, `depth` halvings by 4×4, as many doublings by bilinear interpolation and 3×3
    with the result of the same size added, two 3×3 and a 3×3 to one logit; leaky ReLU 0.2 between,
    spectral normalisation on all but the first and the last. With 64 channels and depth 3 it is the
    discriminator of Wang et al., "Real-ESRGAN", ICCV workshops 2021, but for the input, which is
    mapped to [-1, 1] here. Sizes that halve unevenly are fine.
    """

    def __init__(
        self, channels: int, depth: int, *, spectral_norm: bool, norm: Norm = "none"
    ) -> None:
        super().__init__()

        def layer(convolution: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(*inner(convolution, spectral_norm=spectral_norm, norm=norm))

        sizes = list(itertools.pairwise(widths(channels, depth)))
        self.first = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(
            layer(nn.Conv2d(width, wider, 4, stride=2, padding=1, bias=False))
            for width, wider in sizes
        )
        self.up = nn.ModuleList(
            layer(nn.Conv2d(wider, width, 3, padding=1, bias=False))
            for width, wider in reversed(sizes)
        )
        self.last = nn.Sequential(
            layer(nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            layer(nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            nn.Conv2d(channels, 1, 3, padding=1),
        )
        self.depth = depth
        self.norm: Norm = norm

    def forward(self, images: Tensor) -> Tensor:
        check_size(images, self.depth, self.norm)
        x = self.first(images * 2 - 1)
        skips: list[Tensor] = []
        for halve in self.down:
            skips.append(x)
            x = halve(x)
        for widen, skip in zip(self.up, reversed(skips), strict=True):
            x = widen(F.interpolate(x, skip.shape[-2:], mode="bilinear")) + skip
        logits: Tensor = self.last(x)
        return logits
