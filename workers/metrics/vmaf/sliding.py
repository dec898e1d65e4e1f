"""Weighted sums over sliding windows, as products with small banded matrices.

A few neighbouring outputs are one matrix product of their inputs, which in float64 is several times
faster than a convolution, on CPU and CUDA, and as exact: float64 holds every whole number below 2⁵³.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

#: Outputs that one product makes.
BLOCK = 16
#: Columns of a tile.
TILE = 512


def bordered(frames: Tensor, radius: int, step: int = 1) -> Tensor:
    """Mirror frames (N, H, W) by `radius` without repeating the edge; fill whole blocks with zeros."""
    height, width = frames.shape[1:]
    mirrored = F.pad(frames, (radius,) * 4, mode="reflect")
    below, beside = -height % (step * BLOCK), -width % (step * BLOCK)
    return F.pad(mirrored, (0, beside, 0, below)) if below or beside else mirrored


def tiles(frames: Tensor, radius: int, step: int, pixels: int) -> Iterator[tuple[int, int, Tensor]]:
    """Cut frames from `bordered` into tiles with `radius` pixels around them, about `pixels` in all.

    Yields the first row and column of each, not counting what is around, and a view.
    """
    count, height, width = frames.shape
    block = step * BLOCK
    # Tiles nearly square have the least around them; rows of products want a few hundred columns.
    columns = max(1, TILE // block) * block
    rows = max(1, pixels // (count * min(width, columns) * block)) * block
    for top in range(0, height - 2 * radius, rows):
        for left in range(0, width - 2 * radius, columns):
            yield (
                top,
                left,
                frames[:, top : top + rows + 2 * radius, left : left + columns + 2 * radius],
            )


def along_columns(frames: Tensor, taps: Sequence[int], shift: int, step: int = 1) -> Tensor:
    """Sum Σ taps·x·2^-shift down each column of frames (N, H, W) from `bordered`.

    Returns every `step`-th row, (N, blocks·BLOCK, W).
    """
    count, _, width = frames.shape
    band = _band(tuple(taps), shift, step, frames.dtype, frames.device)
    windows = frames.unfold(1, band.shape[1], step * BLOCK).mT
    blocks = windows.shape[1]
    sums = frames.new_empty(count, blocks, BLOCK, width)
    for frame, out in zip(windows, sums, strict=True):
        torch.bmm(band.expand(blocks, -1, -1), frame, out=out)
    return sums.view(count, blocks * BLOCK, width)


def along_rows(frames: Tensor, taps: Sequence[int], shift: int, step: int = 1) -> Tensor:
    """Sum Σ taps·x·2^-shift along each row of frames (N, H, W) from `bordered`.

    Returns every `step`-th column, (blocks·BLOCK, N, H): columns come first, as the product has them.
    """
    count, height, width = frames.shape
    band = _band(tuple(taps), shift, step, frames.dtype, frames.device)
    windows = frames.view(count * height, width).unfold(1, band.shape[1], step * BLOCK)
    blocks = windows.shape[1]
    sums = torch.bmm(band.expand(blocks, -1, -1), windows.permute(1, 2, 0))
    return sums.view(blocks * BLOCK, count, height)


@cache
def _band(
    taps: tuple[int, ...], shift: int, step: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The matrix (BLOCK, inputs) with `taps`·2^-shift in each row, `step` further on than above."""
    band = torch.zeros(BLOCK, step * (BLOCK - 1) + len(taps), dtype=dtype)
    for row in range(BLOCK):
        band[row, step * row : step * row + len(taps)] = torch.tensor(taps, dtype=dtype)
    band /= 2**shift
    return band.to(device)
