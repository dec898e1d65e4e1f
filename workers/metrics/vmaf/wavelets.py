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


def first(frames: Tensor, *, bits: int, pixels: int) -> Bands:
    """Transform luma (N, H, W), whole numbers in float32, `pixels` at a time."""
    # Half of its range off every pixel is libvmaf's offset of every sum, 46342·2^(bits - 1). Sums of
    # 8 bits fit float32.
    centred = frames - 2.0 ** (bits - 1)
    return _bands(centred if bits == 8 else centred.double(), bits, 16, pixels)


def following(approximation: Tensor, scale: int, *, pixels: int) -> Bands:
    """Transform the approximation of the scale before; `scale` is 1, 2 or 3."""
    return _bands(approximation, *_SHIFTS[scale - 1], pixels)


def _bands(images: Tensor, down: int, along: int, pixels: int) -> Bands:
    count, height, width = images.shape
    padded = _bordered(_bordered(images, -2), -1)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    bands = Bands(
        images.new_empty(count, rows, columns, dtype=torch.float64),
        images.new_empty(count, 3, rows, columns, dtype=torch.float64),
    )
    some = max(1, pixels // (2 * count * width))
    for top in range(0, rows, some):
        out = slice(top, min(top + some, rows))
        low, high = (
            _rounded(half, down).double()
            for half in _halves([padded[:, r::2][:, out] for r in range(4)])
        )
        for half, places in ((low, (0, 2)), (high, (1, 3))):
            # Even and odd columns apart, since arithmetic on every second one is slow.
            even, odd = half[..., ::2].contiguous(), half[..., 1::2].contiguous()
            taken = [even[..., :-1], odd[..., :-1], even[..., 1:], odd[..., 1:]]
            for place, band in zip(places, _halves(taken), strict=True):
                into = bands.details[:, place - 1] if place else bands.approximation
                into[:, out] = _rounded(band, along)
    return bands


def _bordered(images: Tensor, axis: int) -> Tensor:
    """Before the first comes the second, after the last the last, and if that is odd, the one before."""
    size = images.shape[axis]
    last, second_last = (images.narrow(axis, size - k, 1) for k in (1, 2))
    ends = [last, second_last] if size % 2 else [last]
    return torch.cat([images.narrow(axis, 1, 1), images, *ends], dim=axis)


def _halves(taken: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Low and high half of an axis, of its pixels 2i-1, 2i, 2i+1 and 2i+2 in that order."""
    return _weighted(taken, _LOW), _weighted(taken, _HIGH)


def _weighted(taken: list[Tensor], taps: tuple[int, ...]) -> Tensor:
    total = taken[0] * taps[0]
    for image, tap in zip(taken[1:], taps[1:], strict=True):
        total.add_(image, alpha=tap)
    return total


def _rounded(sums: Tensor, shift: int) -> Tensor:
    return sums.mul_(2.0**-shift).add_(0.5).floor_() if shift else sums
