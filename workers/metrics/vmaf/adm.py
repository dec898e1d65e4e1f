"""Detail loss (DLM, adm2) over four scales of wavelets, in the integers of libvmaf.

Li, Zhang, Ma, Ngan, "Image quality assessment by separately evaluating detail losses and additive
impairments", 2011; fixed point by Netflix (libvmaf's integer_adm.c), roundings and quirks included.
Only what the score is made of is computed: the middle of each band, without a tenth at each side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.metrics.vmaf import wavelets
from workers.metrics.vmaf.sensitivity import weights

SCALES = 4
_THIRD = torch.tensor(1.0).div(3).item()  #: in float32, as libvmaf raises to it
_NOISE_WEIGHT = 0.03125
#: The square of the cosine of one degree in float32: contrast that keeps its angle is enhancement.
_COSINE = torch.tensor(math.cos(math.pi / 180) ** 2).item()


def adm2(ref: Tensor, dis: Tensor, *, bits: int, limits: Sequence[float]) -> Tensor:
    """Return ADM2 (limits, N) of luma frames (N, H, W), whole numbers in float32.

    `limits` are the enhancement gains credited: 100 practically any, 1 none.
    """
    num = den = torch.zeros((), dtype=torch.float64, device=ref.device)
    o, t = (wavelets.first(frames, bits=bits) for frames in (ref, dis))
    for scale in range(SCALES):
        if scale:
            o, t = (wavelets.following(bands.approximation, scale) for bands in (o, t))
        middle = _Middle.of(*o.details.shape[-2:])
        level = _Level.at(scale, middle, o.details.device)
        den = den + level.contrast(middle.inner(o.details))
        kept = _decoupled(middle.outer(o.details), middle.outer(t.details), scale, limits)
        added = middle.outer(t.details) - kept
        num = num + level.visible(kept, added, middle)
    return num / den


@dataclass(frozen=True)
class _Middle:
    """The part of a band that counts, and the pixel around it where the band has one."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, height: int, width: int) -> _Middle:
        # Truncated towards zero, as a C cast is.
        return cls(int(height * 0.1 - 0.5), int(width * 0.1 - 0.5), height, width)

    @property
    def rows(self) -> int:
        return self.height - 2 * self.top

    @property
    def columns(self) -> int:
        return self.width - 2 * self.left

    def inner(self, band: Tensor) -> Tensor:
        return band[..., self.top : self.height - self.top, self.left : self.width - self.left]

    def outer(self, band: Tensor) -> Tensor:
        top, left = max(self.top - 1, 0), max(self.left - 1, 0)
        return band[..., top : self.height - top, left : self.width - left]

    def bordered(self, outer: Tensor) -> Tensor:
        """Give the outer part the pixel it lacks at the image's border: mirrored, at the end repeated."""
        if not self.top:
            outer = torch.cat([outer[..., 1:2, :], outer, outer[..., -1:, :]], dim=-2)
        if not self.left:
            outer = torch.cat([outer[..., 1:2], outer, outer[..., -1:]], dim=-1)
        return outer

    def centre(self, bordered: Tensor) -> Tensor:
        return bordered[..., 1:-1, 1:-1]


def _decoupled(o: Tensor, t: Tensor, scale: int, limits: Sequence[float]) -> Tensor:
    """Return what `t` (N, 3, h, w) keeps of the reference `o`, (limits, N, 3, h, w).

    k·o with 0 ≤ k = t/o ≤ 1, k with 15 bits; where (h, v) of both point the same way within a
    degree, up to `limit` times as much, but no more than t.
    """
    inverse = o
    reach = 2.0**15
    if scale:
        # Of larger o only the 15 leading bits, rounded, divide.
        unit = (o.abs().view(torch.int64) & (0x7FF << 52)).view(torch.float64)
        unit = unit.mul_(2.0**-14).clamp_min_(1)
        inverse = (o.abs() / unit).add_(0.5).floor_().copysign_(o)
        reach = unit.mul_(reach)
    # The table of 2³⁰/o; where o is 0 any finite number does, since r = k·o.
    inverse = (2.0**30 / inverse).clamp_(-(2.0**30), 2.0**30).trunc_()
    k = inverse.mul_(t).div_(reach).add_(0.5).floor_().clamp_(0, 32768)
    r = k.mul_(o).mul_(2.0**-15).add_(0.5).floor_()
    gate = _same_way(o, t, scale)[:, None]
    size, most = r.abs(), t.abs()
    limited = [torch.minimum(size * limit, most).copysign_(r) for limit in limits]
    return torch.stack([r + gate * (most_kept - r) for most_kept in limited])


def _same_way(o: Tensor, t: Tensor, scale: int) -> Tensor:
    """1 where (h, v) of o and t lie within a degree of each other, else 0; (N, h, w)."""
    # The first scale's products fit float64, later ones need all 63 bits; libvmaf then takes float32.
    (oh, ov), (th, tv) = ((x[:, :2].long() if scale else x[:, :2]).unbind(1) for x in (o, t))
    dot = (oh * th + ov * tv).float().double()
    o_size, t_size = ((h * h + v * v).float().double() for h, v in ((oh, ov), (th, tv)))
    within = (dot >= 0) & (dot * dot >= _COSINE * o_size * t_size)
    return within.double()


@dataclass(frozen=True)
class _Level:
    """The weights and shifts of one scale; (3, 1, 1) tensors are for horizontal, vertical, diagonal."""

    scale: int
    factor: Tensor  #: contrast sensitivity, float64
    whole: Tensor  #: the same as a whole number, times 2²¹, 2²¹, 2²³ or 2³²
    area: int
    cube_shift: Tensor
    row_shift: int
    final_shift: Tensor

    @classmethod
    def at(cls, scale: int, middle: _Middle, device: torch.device) -> _Level:
        factor, whole = weights(scale)
        width = math.ceil(math.log2(middle.width))
        height = math.ceil(math.log2(middle.height))
        cube = (width - 4, width - 4, width - 3) if scale == 0 else (width,) * 3
        left = (52, 52, 57) if scale == 0 else ((45, 39, 36)[scale - 1],) * 3

        def per_band(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=device).view(3, 1, 1)

        return cls(
            scale=scale,
            factor=torch.tensor(factor, dtype=torch.float64, device=device),
            whole=per_band(whole),
            area=middle.rows * middle.columns,
            cube_shift=per_band(cube),
            row_shift=height,
            final_shift=torch.tensor(
                [bits - shift - height for bits, shift in zip(left, cube, strict=True)],
                device=device,
            ),
        )

    def contrast(self, o: Tensor) -> Tensor:
        """Denominator: the cube root of Σ|factor·o|³, summed over bands; (N,) from (N, 3, h, w)."""
        size = o.abs().long()
        if self.scale == 0:
            cubes = size * size * size
            shift, bits = max(0, math.ceil(math.log2(self.area) - 20)), 18
        else:
            square_shift, bits = (31, 30, 31)[self.scale - 1], (32, 27, 23)[self.scale - 1]
            # libvmaf adds a whole unit here, not half of one.
            squares = (size * size + (1 << square_shift)) >> square_shift
            cube_shift = math.ceil(math.log2(o.shape[-1]))
            cubes = _rounded(squares * size, cube_shift)
            shift = math.ceil(math.log2(o.shape[-2]))
            bits -= cube_shift
        total = _rounded(cubes.sum(-1), shift).sum(-1)
        return self._rooted(total.double() / 2.0 ** (bits - shift) * self.factor**3)

    def visible(self, kept: Tensor, added: Tensor, middle: _Middle) -> Tensor:
        """Numerator: the same of what is kept, less the masking by what was added; (limits, N)."""
        threshold = self._threshold(added, middle)
        centre = middle.inner(kept) if middle.height == kept.shape[-2] else None
        del centre
        inside = _inside(kept, middle)
        if self.scale == 0:
            excess = (inside.long() * self.whole).abs_()
            excess -= threshold << torch.tensor([10, 10, 12], device=kept.device).view(3, 1, 1)
            square_shift = torch.tensor([29, 29, 30], device=kept.device).view(3, 1, 1)
        else:
            excess = _rounded(inside.long() * self.whole, 28).abs_()
            excess -= threshold
            square_shift = torch.full((3, 1, 1), 30, device=kept.device)
        excess.clamp_min_(0)
        squares = _rounded(excess * excess, square_shift)
        cubes = _rounded(squares * excess, self.cube_shift)
        total = _rounded(cubes.sum(-1), self.row_shift).sum(-1)
        return self._rooted(total.double() / 2.0**self.final_shift.double())

    def _threshold(self, added: Tensor, middle: _Middle) -> Tensor:
        """A fifteenth of the weighted pixel and a thirtieth of each neighbour, of all three bands."""
        added = added.long() * self.whole
        if self.scale == 0:
            half = torch.tensor([16384, 16384, 65535], device=added.device).view(3, 1, 1)
            shift = torch.tensor([15, 15, 17], device=added.device).view(3, 1, 1)
            size = ((added + half) >> shift).abs_()
            near = ((4369 * size + 2048) >> 12).sum(-3)
            own = ((8738 * size + 2048) >> 12).sum(-3)
        else:
            size = _rounded(added, 28).abs_()
            # In libvmaf half of 2³² overflows to its negative.
            near = ((143165577 * size - (1 << 31)) >> 32).sum(-3)
            own = ((286331153 * size - (1 << 31)) >> 32).sum(-3)
        near, own = middle.bordered(near), middle.bordered(own)
        across = near[..., :-2] + near[..., 1:-1] + near[..., 2:]
        around = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
        return (around - middle.centre(near) + middle.centre(own)).unsqueeze(-3)

    def _rooted(self, sums: Tensor) -> Tensor:
        """Σ over bands (..., 3) of the cube roots, each with the noise's, all in float32."""
        noise = torch.tensor(self.area * _NOISE_WEIGHT).double().pow(_THIRD).float()
        roots = sums.float().double().pow(_THIRD).float() + noise.to(sums.device)
        return ((roots[..., 0] + roots[..., 1]) + roots[..., 2]).double()


def _inside(outer: Tensor, middle: _Middle) -> Tensor:
    rows = slice(1, -1) if middle.top else slice(None)
    columns = slice(1, -1) if middle.left else slice(None)
    return outer[..., rows, columns]


def _rounded(values: Tensor, shift: Tensor | int) -> Tensor:
    """values / 2^shift to the nearest, halves up."""
    one = torch.ones((), dtype=torch.int64, device=values.device)
    return (values + ((one << shift) >> 1)) >> shift
