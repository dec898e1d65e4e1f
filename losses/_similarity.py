"""Structural similarity of two image batches, window by window."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from losses._functional import luma
from losses._spec import InvalidParameter
from losses._windows import Taps, filtered, gaussian, window

WindowPadding = Literal["valid", "reflect", "zero", "valid_or_zero"]
Channels = Literal["rgb", "luma"]


def similarity_window(
    loss: str, size: int, sigma: float, padding: WindowPadding, *, single: bool
) -> Taps:
    """Return the Gaussian window of `loss`, or raise `InvalidParameter` for an even size."""
    if size % 2 == 0:
        raise InvalidParameter(f"{loss}.window is {size}, but must be odd to have a centre.")
    # What is smaller than the window gets its border in `fitted`.
    return window(
        gaussian(size, sigma, single=single), "valid" if padding == "valid_or_zero" else padding
    )


def fitted(taps: Taps, images: Tensor, padding: WindowPadding) -> Taps:
    """Return the window as it is; for images smaller than it, a centred one over a black border."""
    if padding != "valid_or_zero" or min(images.shape[-2:]) >= len(taps.taps):
        return taps
    return window(taps.taps, "zero")


def least_side(size: int, padding: WindowPadding) -> int:
    """Return the least image side a window can slide over."""
    return {"valid": size, "reflect": size // 2 + 1, "zero": 1, "valid_or_zero": 1}[padding]


def in_channels(images: Tensor, channels: Channels) -> Tensor:
    """Return the images as they are, or their luma."""
    return luma(images) if channels == "luma" else images


class Moments(NamedTuple):
    """What SSIM is made of, each (N, C, H', W'): 2μxμy + C1, μx² + μy² + C1, 2σxy + C2, σx² + σy² + C2."""

    mean_product: Tensor
    mean_energy: Tensor
    covariance: Tensor
    variance: Tensor

    def luminance(self) -> Tensor:
        """Return l = (2μxμy + C1) / (μx² + μy² + C1)."""
        return self.mean_product / self.mean_energy

    def structure(self) -> Tensor:
        """Return cs = (2σxy + C2) / (σx² + σy² + C2)."""
        return self.covariance / self.variance

    def similarity(self) -> Tensor:
        """Return SSIM, l·cs."""
        return (self.mean_product * self.covariance) / (self.mean_energy * self.variance)

    def clipped(self) -> Moments:
        """Return them with cs raised to 0 in every window where it is negative."""
        return self._replace(covariance=self.covariance.clamp_min(0))


def moments(sr: Tensor, hr: Tensor, taps: Taps, c1: float, c2: float) -> Moments:
    """Return the moments of (N, C, H, W) images in every window.

    The variances only occur as a sum, so that four filtered planes do the work of five; HR's mean is
    filtered apart, because it needs no gradient when HR is data.
    """
    moving = torch.stack([sr, sr.square() + hr.square(), sr * hr])
    mean_sr, energy, product = filtered(moving, [taps], [taps]).unbind()
    mean_hr = filtered(hr, [taps], [taps])
    mean_product = 2 * mean_sr * mean_hr + c1
    mean_energy = torch.addcmul(mean_hr.square() + c1, mean_sr, mean_sr)
    return Moments(
        mean_product,
        mean_energy,
        covariance=torch.sub(2 * product + (c1 + c2), mean_product),
        variance=energy + (c1 + c2) - mean_energy,
    )
