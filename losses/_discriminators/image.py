"""One verdict per image."""

from __future__ import annotations

from torch import Tensor, nn

from losses._discriminators.layers import Norm, check_size, inner, widths
from losses._functional import UnsuitableInput


class ImageDiscriminator(nn.Module):
    """Logits (N, 1), one per image (N, 3, H, W) in [0, 1], by a chain in the style of VGG (SRGAN).

    3×3 convolutions in pairs, the second of each pair with stride 2, widths channels, 2, 4, 8 ×
    channels; then a dense layer of 16 × channels and one of 1; leaky ReLU 0.2 between. With 64
    channels, depth 4, norm batch, no spectral norm and crop 96 it is the discriminator of Ledig et
    al., "Photo-realistic single image super-resolution using a GAN", CVPR 2017.

    `crop` 0: the dense layers read the mean over all places, so that images of every size will do;
    otherwise they read every place of crops of exactly that side, as published.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        *,
        spectral_norm: bool,
        norm: Norm = "none",
        crop: int = 0,
    ) -> None:
        super().__init__()
        self.body = tower(3, channels, depth, spectral_norm=spectral_norm, norm=norm)
        side = -(-crop // 2**depth) if crop else 1  # every halving rounds up
        self.pool = nn.Identity() if crop else nn.AdaptiveAvgPool2d(1)
        self.verdict = verdict(widths(channels, max(depth - 1, 0))[-1] * side**2, channels)
        self.depth, self.crop = depth, crop
        self.norm: Norm = norm

    def forward(self, images: Tensor) -> Tensor:
        check_size(images, self.depth, self.norm)
        if self.crop and images.shape[-2:] != (self.crop, self.crop):
            raise UnsuitableInput(
                f"This discriminator reads crops of {self.crop} px (adversarial.crop), not "
                f"{tuple(images.shape[-2:])}; set crop to the training's patch, or to 0 for any size."
            )
        logits: Tensor = self.verdict(self.pool(self.body(images * 2 - 1)))
        return logits


def tower(
    inputs: int, channels: int, depth: int, *, spectral_norm: bool, norm: Norm
) -> nn.Sequential:
    """Return pairs of 3×3 convolutions that halve `depth` times (N, inputs, H, W), rounding up."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, channels, 3, padding=1), nn.LeakyReLU(0.2)]
    width = channels
    for level, wider in enumerate(widths(channels, depth)[:depth]):
        if level:
            keeping = nn.Conv2d(width, wider, 3, padding=1)
            layers += inner(keeping, spectral_norm=spectral_norm, norm=norm)
        halving = nn.Conv2d(wider, wider, 3, stride=2, padding=1)
        layers += inner(halving, spectral_norm=spectral_norm, norm=norm)
        width = wider
    return nn.Sequential(*layers)


def verdict(inputs: int, channels: int) -> nn.Sequential:
    """Return the dense layers that end in one logit."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, 16 * channels),
        nn.LeakyReLU(0.2),
        nn.Linear(16 * channels, 1),
    )
