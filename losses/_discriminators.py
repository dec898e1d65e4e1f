"""Discriminators that adversarial losses train against the generator."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from losses._functional import UnsuitableInput


class PatchDiscriminator(nn.Module):
    """Logits (N, 1, H/2^depth, W/2^depth), one per overlapping patch of (N, 3, H, W) in [0, 1].

    A 3×3 convolution, `depth` halvings by 4×4 convolutions that double the width up to 8 × channels,
    a 3×3 to one logit, leaky ReLU 0.2 between; Isola et al., "Image-to-image translation", CVPR 2017.

    No batch normalisation: one image's logits never depend on the others in its batch. Spectral
    normalisation (Miyato et al., ICLR 2018) is on every layer but the first and the last, as in
    Real-ESRGAN: on the last it would also bound the logits, and small errors could never be told
    apart with confidence. Every pass in training mode moves the power iteration's vectors, which are
    buffers: they travel in the state dict, so that a resumed training is exact.
    Weights come from torch's global generator; the caller seeds it.
    """

    def __init__(self, channels: int, depth: int, *, spectral_norm: bool) -> None:
        super().__init__()
        widths = [channels * min(2**level, 8) for level in range(depth + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.LeakyReLU(0.2)]
        for width, wider in itertools.pairwise(widths):
            halving = nn.Conv2d(width, wider, 4, stride=2, padding=1)
            layers.append(with_spectral_norm(halving) if spectral_norm else halving)
            layers.append(nn.LeakyReLU(0.2))
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.smallest = 2**depth

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < self.smallest:
            raise UnsuitableInput(
                f"A discriminator with {self.smallest.bit_length() - 1} halvings needs images of at least "
                f"{self.smallest} px, not {tuple(images.shape[-2:])}; lower depth or enlarge the patch."
            )
        logits: Tensor = self.body(images * 2 - 1)
        return logits
