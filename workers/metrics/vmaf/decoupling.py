"""What of a distorted image is the reference restored, and what was added: ADM's decoupling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: The square of the cosine of one degree in float32: contrast that keeps its angle is enhancement.
_COSINE = torch.tensor(math.cos(math.pi / 180) ** 2).item()
_EXPONENT = 0x7FF << 52


def restored(o: Tensor, t: Tensor, scale: int, limits: Sequence[float]) -> list[Tensor]:
    """Return what `t` (N, 3, h, w) restores of the reference `o`, one tensor per limit.

    k·o with k = t/o between 0 and 1, in 15 bits; where (h, v) of both point the same way within a
    degree, up to `limit` times as much but no more than t. Whole numbers in float64.
    """
    k = _share(o, t, scale)
    r = k.mul_(o).mul_(2.0**-15).add_(0.5).floor_()
    gate = _same_way(o, t, scale)[:, None]
    size, most = r.abs(), t.abs()
    return [
        torch.minimum(size * limit, most).copysign_(r).sub_(r).mul_(gate).add_(r)
        for limit in limits
    ]


def _share(o: Tensor, t: Tensor, scale: int) -> Tensor:
    """2¹⁵·t/o between 0 and 2¹⁵, of libvmaf's table of 2³⁰/o; where o is 0, any number does."""
    if scale == 0:
        inverse = (2.0**30 / o).clamp_(-(2.0**30), 2.0**30).trunc_()
        return inverse.mul_(t).mul_(2.0**-15).add_(0.5).floor_().clamp_(0, 32768)
    # Of an o beyond 2¹⁵ only the 15 leading bits, rounded, divide.
    unit = (o.view(torch.int64) & _EXPONENT).view(torch.float64)
    unit = unit.mul_(2.0**-14).clamp_min_(1)
    leading = (o.abs() / unit).add_(0.5).floor_().copysign_(o)
    inverse = (2.0**30 / leading).clamp_(-(2.0**30), 2.0**30).trunc_()
    # Products beyond 2⁵³ lose bits here, but all above 2³⁰·unit are cut to 2¹⁵.
    return inverse.mul_(t).div_(unit.mul_(2.0**15)).add_(0.5).floor_().clamp_(0, 32768)


def _same_way(o: Tensor, t: Tensor, scale: int) -> Tensor:
    """1 where (h, v) of o and t (N, 3, h, w) lie within a degree of each other, else 0; (N, h, w)."""
    # At scale 0 products fit float64, later they need all 63 bits; libvmaf then takes float32.
    oh, ov = (o[:, :2].long() if scale else o).unbind(1)[:2]
    th, tv = (t[:, :2].long() if scale else t).unbind(1)[:2]
    dot = (oh * th).add_(ov * tv).float().double()
    o_size, t_size = ((h * h).add_(v * v).float().double() for h, v in ((oh, ov), (th, tv)))
    within = dot.square() >= o_size.mul_(_COSINE).mul_(t_size)
    return within.logical_and_(dot >= 0).double()
