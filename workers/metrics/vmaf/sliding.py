"""Weighted sums over sliding windows, as products with small banded matrices.

A block of neighbouring outputs is one matrix product of its inputs, which on CPU and CUDA is faster
than a convolution in float64, and as exact: float64 holds every sum of whole numbers below 2⁵³.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

#: Outputs that one product makes, along the columns and along the rows of the image.
ROWS, COLUMNS = 32, 64


def bordered(frames: Tensor, radius: int, step: int = 1) -> Tensor:
    """Mirror frames (N, H, W) by `radius` without repeating the edge; fill whole blocks with zeros."""
    height, width = frames.shape[1:]
    mirrored = F.pad(frames, (radius,) * 4, mode="reflect")
    below, beside = -height % (step * ROWS), -width % (step * COLUMNS)
    return F.pad(mirrored, (0, beside, 0, below))


def along_columns(frames: Tensor, taps: Sequence[int], shift: int, step: int = 1) -> Tensor:
    """Sum Σ taps·x·2^-shift down each column of (N, block·ROWS + 2·radius, W), every `step`-th row."""
    count, height, width = frames.shape
    band = _band(tuple(taps), shift, step, ROWS, frames.dtype, frames.device)
    windows = frames.unfold(1, band.shape[1], step * ROWS).mT
    blocks = windows.shape[1]
    sums = frames.new_empty(count, blocks * ROWS, width)
    for frame, out in zip(windows, sums, strict=True):
        torch.bmm(band.expand(blocks, -1, -1), frame, out=out.view(blocks, ROWS, width))
    return sums


def along_rows(frames: Tensor, taps: Sequence[int], shift: int, step: int = 1) -> Tensor:
    """Sum Σ taps·x·2^-shift along each row of (N, H, block·COLUMNS + 2·radius).

    Returns (blocks, N·H, COLUMNS): column blocks come first, which costs no copy.
    """
    count, height, width = frames.shape
    band = _band(tuple(taps), shift, step, COLUMNS, frames.dtype, frames.device)
    windows = frames.view(count * height, width).unfold(1, band.shape[1], step * COLUMNS)
    blocks = windows.shape[1]
    return torch.bmm(windows.transpose(0, 1), band.mT.expand(blocks, -1, -1))


@cache
def _band(
    taps: tuple[int, ...],
    shift: int,
    step: int,
    outputs: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The matrix (outputs, inputs) with `taps`·2^-shift in each row, `step` further on than above."""
    band = torch.zeros(outputs, step * outputs + len(taps) - 1, dtype=dtype)
    for row in range(outputs):
        band[row, step * row : step * row + len(taps)] = torch.tensor(taps, dtype=dtype)
    return (band / 2**shift).to(device)
