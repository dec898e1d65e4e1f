"""A verdict on every overlapping patch."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from losses._discriminators.layers import Norm, check_size, inner, widths


class PatchDiscriminator(nn.Module):
    """Logits (N, 1, H/2^depth, W/2^depth), one per overlapping patch of (N, 3, H, W) in [0, 1].

    A 3×3 convolution, `depth` halvings by 4×4 convolutions that double the width up to 8 × channels,
    a 3×3 to one logit, leaky ReLU 0.2 between; Isola et al., "Image-to-image translation", CVPR 2017.

    Without batch normalisation one image's logits never depend on the others in its batch. Spectral
    normalisation (Miyato et al., ICLR 2018) is on every layer but the first and the last, as in
    Real-ESRGAN: on the last it would also bound the logits, and small errors could never be told
    apart with confidence. Every pass in training mode moves the power iteration's vectors, which are
    buffers: they travel in the state dict, so that a resumed training is exact.
    """

    def __init__(
        self, channels: int, depth: int, *, spectral_norm: bool, norm: Norm = "none"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.LeakyReLU(0.2)]
        sizes = widths(channels, depth)
        for width, wider in itertools.pairwise(sizes):
            halving = nn.Conv2d(width, wider, 4, stride=2, padding=1)
            layers += inner(halving, spectral_norm=spectral_norm, norm=norm)
        self.body = nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 3, padding=1))
        self.depth = depth
        self.norm: Norm = norm

    def forward(self, images: Tensor) -> Tensor:
        check_size(images, self.depth, self.norm)
        logits: Tensor = self.body(images * 2 - 1)
        return logits
