"""Sums of seen contrast over a band: cubes of weighted detail, less what added detail masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from losses._vmaf.sensitivity import weights

_THIRD = torch.tensor(1.0).div(3).item()  #: in float32, as libvmaf raises to it
_NOISE = 0.03125


class _Direction(NamedTuple):
    """Bands that share weights and shifts: horizontal and vertical, or diagonal."""

    bands: slice
    weight: int  #: contrast sensitivity as a whole number
    half: int  #: added before weighted detail is shifted
    shift: int
    threshold_shift: int
    square_shift: int
    cube_shift: int


class Contrast:
    """Contrast of one scale; sums of strips are added up, and their cube root is taken at the end.

    `height` and `width` are the band's, `rows` and `columns` those of its middle, which counts.
    Everything is whole numbers of 32 or 64 bits and shifts, as in libvmaf's integer_adm.c.
    """

    def __init__(self, scale: int, height: int, width: int, *, rows: int, columns: int) -> None:
        self.scale = scale
        self.whole = torch.int64 if scale else torch.int32
        self.factors, (upright, _, diagonal) = weights(scale)
        wide, self.row_shift = _bits(width), _bits(height)
        self.area = rows * columns
        if scale == 0:
            self.directions = (
                _Direction(slice(0, 2), upright, 1 << 14, 15, 10, 29, wide - 4),
                _Direction(slice(2, 3), diagonal, (1 << 16) - 1, 17, 12, 30, wide - 3),
            )
            self.fraction_bits = (52 - wide + 4, 52 - wide + 4, 57 - wide + 3)
            self.reference_shifts = (0, 0, max(0, math.ceil(math.log2(self.area) - 20)))
            self.reference_fraction = 18
        else:
            self.directions = (
                _Direction(slice(0, 2), upright, 1 << 27, 28, 0, 30, wide),
                _Direction(slice(2, 3), diagonal, 1 << 27, 28, 0, 30, wide),
            )
            self.fraction_bits = ((45, 39, 36)[scale - 1] - wide,) * 3
            self.reference_shifts = ((31, 30, 31)[scale - 1], _bits(columns), _bits(rows))
            self.reference_fraction = (32, 27, 23)[scale - 1] - _bits(columns)

    def of_reference(self, o: Tensor) -> Tensor:
        """Sum cubes of a strip of the reference (N, 3, h, w); (N, 3)."""
        square_shift, cube_shift, row_shift = self.reference_shifts
        size = o.long().abs_()
        squares = size * size
        if square_shift:
            # libvmaf adds a whole unit here, not half of one.
            squares = squares.add_(1 << square_shift).bitwise_right_shift_(square_shift)
        return _rounded(_rounded(squares.mul_(size), cube_shift).sum(-1), row_shift).sum(-1)

    def of_restored(self, restored: Tensor, added: Tensor) -> Tensor:
        """Sum cubes of restored detail beyond the threshold; (N, 3) of (N, 3, h + 2, w + 2)."""
        threshold = self._threshold(added)
        inside = restored[..., 1:-1, 1:-1].to(self.whole)
        sums = []
        for d in self.directions:
            seen = inside[:, d.bands] * d.weight
            if self.scale:
                seen = seen.add_(d.half).bitwise_right_shift_(d.shift)
            seen = seen.abs_().sub_(threshold << d.threshold_shift).clamp_min_(0).long()
            squares = _rounded(seen * seen, d.square_shift)
            cubes = _rounded(squares.mul_(seen), d.cube_shift)
            sums.append(_rounded(cubes.sum(-1), self.row_shift).sum(-1))
        return torch.cat(sums, dim=1)

    def _threshold(self, added: Tensor) -> Tensor:
        """Of all bands, a fifteenth of the pixel's added detail and a thirtieth of its neighbours'."""
        added = added.to(self.whole)
        near, own = [], []
        for d in self.directions:
            size = (added[:, d.bands] * d.weight).add_(d.half).bitwise_right_shift_(d.shift).abs_()
            near.append(self._fraction(size, 4369, 143165577))
            own.append(self._fraction(size[..., 1:-1, 1:-1], 8738, 286331153))
        all_near, all_own = (
            torch.cat(parts, dim=1).sum(1, dtype=self.whole) for parts in (near, own)
        )
        across = all_near[..., :-2] + all_near[..., 1:-1]
        across += all_near[..., 2:]
        around = across[:, :-2] + across[:, 1:-1]
        around += across[:, 2:]
        return (around - all_near[:, 1:-1, 1:-1]).add_(all_own)[:, None]

    def _fraction(self, size: Tensor, first: int, later: int) -> Tensor:
        if self.scale == 0:
            return (size * first).add_(2048).bitwise_right_shift_(12)
        # Half of 2³² overflows to its negative in libvmaf, and scores depend on it.
        return (size * later).sub_(1 << 31).bitwise_right_shift_(32)

    def reference_norm(self, sums: Tensor) -> Tensor:
        """The reference's contrast (N,) of its summed cubes (N, 3)."""
        fraction = self.reference_fraction - self.reference_shifts[2]
        cubes = [factor**3 / 2.0**fraction for factor in self.factors]
        return self._rooted(sums, cubes)

    def restored_norm(self, sums: Tensor) -> Tensor:
        """The restored contrast (..., N) of summed cubes (..., N, 3)."""
        return self._rooted(sums, [2.0 ** (self.row_shift - bits) for bits in self.fraction_bits])

    def _rooted(self, sums: Tensor, units: Sequence[float]) -> Tensor:
        """Σ over bands of cube roots, each with the noise's, in float32 as libvmaf has them."""
        noise = torch.tensor(self.area * _NOISE).double().pow(_THIRD).float().item()
        cubes = sums.double() * torch.tensor(units, dtype=torch.float64, device=sums.device)
        roots = cubes.float().double().pow(_THIRD).float() + noise
        return ((roots[..., 0] + roots[..., 1]) + roots[..., 2]).double()


def _bits(size: int) -> int:
    return math.ceil(math.log2(size))


def _rounded(values: Tensor, shift: int) -> Tensor:
    """values / 2^shift to the nearest, halves up, in place."""
    return values.add_((1 << shift) >> 1).bitwise_right_shift_(shift) if shift else values
