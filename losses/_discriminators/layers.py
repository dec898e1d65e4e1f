"""What discriminators are made of: convolutions with a bounded slope, normalisation, widths, sizes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from losses._functional import UnsuitableInput

Norm = Literal["none", "batch"]


def widths(channels: int, depth: int) -> list[int]:
    """Return the width at each of depth + 1 sizes: doubled by every halving, up to 8 × channels."""
    return [channels * min(2**level, 8) for level in range(depth + 1)]


def inner(convolution: nn.Conv2d, *, spectral_norm: bool, norm: Norm) -> list[nn.Module]:
    """Return a layer that is neither first nor last: convolution, normalisation, leaky ReLU 0.2.

    Batch normalisation uses its own batch's statistics in eval mode too: the generator is judged by
    the discriminator that was trained, and there are no running averages that a look could move.
    """
    layers: list[nn.Module] = [with_spectral_norm(convolution) if spectral_norm else convolution]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(convolution.out_channels, track_running_stats=False))
    return [*layers, nn.LeakyReLU(0.2)]


def check_size(x: Tensor, depth: int, norm: Norm, what: str = "images") -> None:
    """Raise `UnsuitableInput` for (N, C, H, W) too small for `depth` halvings, or to be normalised."""
    height, width = x.shape[-2:]
    if min(height, width) < 2**depth:
        raise UnsuitableInput(
            f"A discriminator with {depth} halvings needs {what} of at least {2**depth} px, not "
            f"{(height, width)}; lower depth or enlarge the patch."
        )
    if norm == "batch" and len(x) * (height >> depth) * (width >> depth) < 2:
        raise UnsuitableInput(
            f"Batch normalisation needs more than one value per channel, but {len(x)} of {height}×"
            f"{width} px has one after {depth} halvings; use norm none, lower depth or enlarge the batch."
        )
