"""Daubechies' second wavelet transform of luma, one level at a time, in the integers of libvmaf."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LOW = (15826, 27411, 7345, -4240)
_HIGH = (-4240, -7345, 27411, -15826)
#: Rounding shifts down the columns and along the rows at scales 1, 2, 3.
_SHIFTS = ((0, 15), (16, 16), (16, 15))


class Bands(NamedTuple):
    """One level of one batch; whole numbers in float64."""

    approximation: Tensor  #: (N, ⌈H/2⌉, ⌈W/2⌉)
    details: Tensor  #: (N, 3, ⌈H/2⌉, ⌈W/2⌉): horizontal, vertical, diagonal


def first(frames: Tensor, *, bits: int) -> Bands:
    """Transform luma (N, H, W), centred on half of its range."""
    # Taking half off every pixel is exactly libvmaf's offset of the sums: 46342·2^(bits - 1).
    return _bands(frames.double() - 2.0 ** (bits - 1), bits, 16)


def following(approximation: Tensor, scale: int) -> Bands:
    """Transform the approximation of the scale before; `scale` is 1, 2 or 3."""
    return _bands(approximation, *_SHIFTS[scale - 1])


def _bands(images: Tensor, down: int, along: int) -> Bands:
    low, high = (_rounded(half, down) for half in _halves(images, -2))
    a, v = (_rounded(half, along) for half in _halves(low, -1))
    h, d = (_rounded(half, along) for half in _halves(high, -1))
    return Bands(a, torch.stack((h, v, d), dim=1))


def _rounded(sums: Tensor, shift: int) -> Tensor:
    return sums.mul_(2.0**-shift).add_(0.5).floor_()


def _halves(images: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Low and high half of one axis; borders: before the first the second, after the last the last."""
    size = images.shape[axis]
    ends = [images.narrow(axis, size - 1, 1), images.narrow(axis, size - 2, 1)][: 1 + size % 2]
    padded = torch.cat([images.narrow(axis, 1, 1), images, *ends], dim=axis)
    half = (size + 1) // 2
    taken = [_every_second(padded, axis, start, half) for start in range(4)]
    return _weighted(taken, _LOW), _weighted(taken, _HIGH)


def _every_second(images: Tensor, axis: int, start: int, count: int) -> Tensor:
    picked = slice(start, start + 2 * count - 1, 2)
    return images[..., picked, :] if axis == -2 else images[..., picked]


def _weighted(taken: list[Tensor], taps: tuple[int, ...]) -> Tensor:
    total = taken[0] * taps[0]
    for image, tap in zip(taken[1:], taps[1:], strict=True):
        total.add_(image, alpha=tap)
    return total
