"""Photographs of any size in one buffer, cut by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Ints: TypeAlias = NDArray[np.int64]


class Planes:
    """Three colour planes, each holding the rows of all photographs one after the other.

    A crop is then an origin and two strides; flipping and turning it changes their signs and
    order and costs nothing.
    """

    def __init__(self, flat: Tensor, starts: Ints, widths: Ints) -> None:
        self._flat, self._starts, self._widths = flat, starts, widths

    @classmethod
    def of(cls, photos: Sequence[Tensor], device: torch.device | str) -> Planes:
        """Copy uint8 images (3, H, W) to the device."""
        flat = torch.cat([photo.reshape(3, -1).to(device) for photo in photos], dim=1)
        sizes = np.array([photo[0].numel() for photo in photos], dtype=np.int64)
        widths = np.array([photo.shape[2] for photo in photos], dtype=np.int64)
        return cls(flat, np.cumsum(sizes) - sizes, widths)

    def cut(self, photo: Ints, row: Ints, column: Ints, turn: Ints, side: int) -> Tensor:
        """Return crops as float32 (N, 3, side, side) in [0, 1].

        Each argument has one entry per crop. Bits of `turn`: 1 upside down, 2 left to right,
        4 transposed; together the eight symmetries of a square.
        """
        width = self._widths[photo]
        flipped, mirrored, transposed = ((turn & bit).astype(bool) for bit in (1, 2, 4))
        down, right = np.where(flipped, -width, width), np.where(mirrored, -1, 1)
        first_row = np.where(flipped, row + side - 1, row)
        first_column = np.where(mirrored, column + side - 1, column)
        origin = np.asarray(self._starts[photo] + first_row * width + first_column, np.int64)
        outer, inner = np.where(transposed, right, down), np.where(transposed, down, right)
        cut = self._copy if self._flat.device.type == "cpu" else self._gather
        crops = cut(origin, outer, inner, side)
        return crops.to(torch.float32, memory_format=torch.contiguous_format).div_(255)

    def _copy(self, origin: Ints, outer: Ints, inner: Ints, side: int) -> Tensor:
        """Copy strided views: five times faster than a gather on a CPU, which torch cannot do
        itself, for want of negative strides."""
        flat = self._flat.numpy()
        shape, plane = (3, side, side), flat.strides[0]
        crops = np.empty((len(origin), *shape), dtype=np.uint8)
        for crop, start, *steps in zip(
            crops, origin.tolist(), outer.tolist(), inner.tolist(), strict=True
        ):
            crop[:] = np.ndarray(shape, np.uint8, flat, start, (plane, *steps))
        return torch.from_numpy(crops)

    def _gather(self, origin: Ints, outer: Ints, inner: Ints, side: int) -> Tensor:
        """Gather all crops at once: three kernels however many crops there are."""
        device = self._flat.device
        lines = torch.from_numpy(np.stack([origin, outer, inner])).to(device)
        start, down, right = lines[:, :, None, None]
        along = torch.arange(side, device=device)
        return self._flat[:, start + along[:, None] * down + along * right].transpose(0, 1)
