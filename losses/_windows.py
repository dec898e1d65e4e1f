"""Separable linear filters over image planes: Gaussian windows, box windows, wavelets.

A filter along one side is a banded matrix, and both sides together are two matrix products. That beats
11-tap convolutions on patches of training size, treats every border the same way, and runs in full
precision under autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from losses._functional import UnsuitableInput

Outside = Literal["valid", "reflect", "zero", "circular"]

#: Beyond this side a dense band is mostly zeros, and convolutions win.
_LARGEST_MATRIX = 512


class Taps(NamedTuple):
    """One filter along one side: output i is Σ_k taps[k] · input[stride·i + dilation·k - before]."""

    taps: tuple[float, ...]
    outside: Outside = "valid"
    before: int = 0
    stride: int = 1
    dilation: int = 1

    def outputs(self, size: int) -> int:
        """Return how many outputs a side of `size` has; valid ones touch nothing outside."""
        if self.outside == "valid":
            return (size - (len(self.taps) - 1) * self.dilation - 1) // self.stride + 1
        return -(-size // self.stride)


def window(taps: Sequence[float], outside: Outside) -> Taps:
    """Return the filter with an odd number of taps centred on each pixel (valid: on each that has all)."""
    before = 0 if outside == "valid" else len(taps) // 2
    return Taps(tuple(taps), outside, before)


def gaussian(size: int, sigma: float, *, single: bool = False) -> tuple[float, ...]:
    """Return `size` (odd) taps of a Gaussian with deviation `sigma` pixels, which sum to 1.

    `single` computes and rounds them in float32, as pytorch-msssim and KAIR do.
    """
    dtype = torch.float32 if single else torch.float64
    offsets = torch.arange(size, dtype=dtype) - size // 2
    raw = torch.exp(-offsets.square() / (2 * sigma**2))
    return tuple((raw / raw.sum()).tolist())


def box(size: int) -> tuple[float, ...]:
    """Return `size` equal taps which sum to 1."""
    return (1 / size,) * size


def require_side(images: Tensor, least: int, remedy: str) -> None:
    """Raise `UnsuitableInput` with the least side and a remedy unless (N, C, H, W) images have it."""
    height, width = images.shape[-2:]
    if min(height, width) < least:
        raise UnsuitableInput(
            f"Images are {height}×{width} px, but must be at least {least}; {remedy}."
        )


def filtered(planes: Tensor, along_y: Sequence[Taps], along_x: Sequence[Taps]) -> Tensor:
    """Return (..., H, W) planes filtered by every pair of `along_y` and `along_x`.

    The results of several filters lie beside each other, (..., ΣH', ΣW'), in the order given.
    """
    with torch.autocast(planes.device.type, enabled=False):
        if _as_matrix(planes):
            rows = torch.cat(
                [matrix(t, planes.shape[-2], planes.dtype, planes.device) for t in along_y]
            )
            columns = torch.cat(
                [matrix(t, planes.shape[-1], planes.dtype, planes.device) for t in along_x]
            )
            return rows @ (planes @ columns.mT)
        wide = torch.cat([_convolved(planes, t, dim=-1) for t in along_x], dim=-1)
        return torch.cat([_convolved(wide, t, dim=-2) for t in along_y], dim=-2)


def _as_matrix(planes: Tensor) -> bool:
    if max(planes.shape[-2:]) > _LARGEST_MATRIX:
        return False
    # Differences of moments need every digit: TF32 has 11 bits, and can be allowed for products.
    rounded = planes.is_cuda and torch.get_float32_matmul_precision() != "highest"
    return not rounded or planes.dtype is torch.float64


def matrix(taps: Taps, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the (outputs, size) matrix of a filter along a side of `size` pixels."""
    return _matrix(taps, size, dtype, device)


@lru_cache(maxsize=128)
def _matrix(taps: Taps, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # A tensor that was made in inference mode could not take part in a backward pass later.
    with torch.inference_mode(mode=False), torch.no_grad():
        values = torch.tensor(taps.taps, dtype=torch.float64)
        count = taps.outputs(size)
        reach = torch.arange(len(values)) * taps.dilation - taps.before
        at = torch.arange(count)[:, None] * taps.stride + reach
        weights = values.expand(at.shape)
        if taps.outside == "circular":
            at = at % size
        elif taps.outside == "reflect":
            at = (size - 1) - ((size - 1) - at.abs()).abs()
        else:
            weights = weights * ((at >= 0) & (at < size))
            at = at.clamp(0, size - 1)
        band = torch.zeros(count, size, dtype=torch.float64).scatter_add_(1, at, weights)
        return band.to(device, dtype)


def _convolved(planes: Tensor, taps: Taps, dim: Literal[-1, -2]) -> Tensor:
    """Filter one side by a depthwise convolution."""
    size, channels = planes.shape[dim], planes.shape[-3]
    span = (len(taps.taps) - 1) * taps.dilation
    after = (taps.outputs(size) - 1) * taps.stride + span - taps.before - (size - 1)
    x = planes.reshape(-1, *planes.shape[-3:])
    pad = (taps.before, max(after, 0))
    mode = "constant" if taps.outside in ("zero", "valid") else taps.outside
    x = F.pad(x, (*pad, 0, 0) if dim == -1 else (0, 0, *pad), mode=mode)
    shape = (1, 1, 1, -1) if dim == -1 else (1, 1, -1, 1)
    kernel = torch.tensor(taps.taps, dtype=x.dtype, device=x.device).view(shape)
    apart = (1, taps.stride) if dim == -1 else (taps.stride, 1)
    spread = (1, taps.dilation) if dim == -1 else (taps.dilation, 1)
    y = F.conv2d(
        x,
        kernel.expand(channels, *kernel.shape[1:]),
        stride=apart,
        dilation=spread,
        groups=channels,
    )
    return y.reshape(*planes.shape[:-2], *y.shape[-2:])
