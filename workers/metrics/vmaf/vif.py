"""Visual information fidelity at four scales, in the integers of libvmaf.

Sheikh & Bovik, "Image information and visual quality", 2006; fixed point by Netflix (libvmaf's
integer_vif.c), whose every rounding is here. Numbers are whole, in float64, which holds them exactly;
what needs more than 53 bits (squares of means) is split in halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from workers.metrics.vmaf import sliding

#: Gaussians of 17, 9, 5 and 3 taps; each sums to 65536.
_WIDEST = (489, 935, 1640, 2640, 3896, 5274, 6547, 7455, 7784)
TAPS = (
    (*_WIDEST, *_WIDEST[-2::-1]),
    (1244, 3663, 7925, 12590, 14692, 12590, 7925, 3663, 1244),
    (3571, 16004, 26386, 16004, 3571),
    (10904, 43728, 10904),
)
SCALES = len(TAPS)
_NOISE = 131072.0  #: σn² = 2, with 16 bits after the point as all variances here
_EPS = 65536 * 1e-10
#: What `_sixteenths` makes of the noise alone.
_NO_LOG = (1023 + 17) * 32768


def vif(ref: Tensor, dis: Tensor, *, bits: int, limits: Sequence[float], pixels: int) -> Tensor:
    """Return VIF (limits, N, 4) of luma frames (N, H, W), whole numbers in float32.

    `limits` are the enhancement gains credited (100: practically any, 1: none), `pixels` how many
    are worked on at a time.
    """
    scores = []
    for scale in range(SCALES):
        if scale:
            ref, dis = (_halved(frames, scale, bits, pixels) for frames in (ref, dis))
        sums = _Sums.none(len(limits), ref)
        for moments in _moments(ref, dis, scale, bits, pixels):
            sums.add(moments, limits)
        scores.append(sums.score())
    return torch.stack(scores, dim=-1)


def _halved(frames: Tensor, scale: int, bits: int, pixels: int) -> Tensor:
    """Smooth and keep every second row and column: the frames of `scale`, (N, ⌊H/2⌋, ⌊W/2⌋)."""
    taps = TAPS[scale]
    shift = bits if scale == 1 else 16
    height, width = frames.shape[1:]
    padded = sliding.bordered(frames, len(taps) // 2, step=2)
    made = frames.new_empty(len(frames), height // 2, width // 2)
    for top, left, tile in sliding.tiles(padded, len(taps) // 2, 2, pixels):
        down = _rounded(sliding.along_columns(_exact(tile, shift), taps, shift, step=2))
        across = _rounded(sliding.along_rows(down.double(), taps, 16, step=2)).permute(1, 2, 0)
        into = made[:, top // 2 :, left // 2 :][:, : across.shape[1], : across.shape[2]]
        into.copy_(across[:, : into.shape[1], : into.shape[2]])
    return made


def _exact(frames: Tensor, shift: int) -> Tensor:
    """Sums of 8 bits and taps of 16 fit float32, which is faster; others need float64."""
    return frames if shift == 8 else frames.double()


def _rounded(values: Tensor) -> Tensor:
    """Round in place, halves up."""
    return values.add_(0.5).floor_()


class _Moments(NamedTuple):
    """Local variances and covariance, (W, N, some rows); s2 and s12 at least 0."""

    s1: Tensor
    s2: Tensor
    s12: Tensor


def _moments(ref: Tensor, dis: Tensor, scale: int, bits: int, pixels: int) -> Iterator[_Moments]:
    taps = TAPS[scale]
    radius = len(taps) // 2
    height, width = ref.shape[1:]
    shift, square_shift = (16, 16) if scale else (bits, 2 * (bits - 8))
    padded = [
        sliding.tiles(sliding.bordered(frames, radius), radius, 1, pixels) for frames in (ref, dis)
    ]
    for (top, left, some_ref), (_, _, some_dis) in zip(*padded, strict=True):
        means = [
            _rounded(sliding.along_columns(_exact(z, shift), taps, shift)).double()
            for z in (some_ref, some_dis)
        ]
        x, y = some_ref.double(), some_dis.double()
        squares = [sliding.along_columns(z, taps, square_shift) for z in (x * x, y * y, x.mul_(y))]
        if square_shift:  # With 8 bits squares are summed as they are: nothing to round.
            squares = [_rounded(z) for z in squares]
        true = [z[:, : height - top].contiguous() for z in (*means, *squares)]
        yield _variances(*(sliding.along_rows(z, taps, 16)[: width - left] for z in true))


def _variances(m1: Tensor, m2: Tensor, xx: Tensor, yy: Tensor, xy: Tensor) -> _Moments:
    """Return σ1², σ2² and σ12, all arguments spent; each product of means is rounded to the unit before it is taken off.

    Means have 16 bits before and 16 after the point, so m² needs 64: with m = a + b, a whole, it is
    a² + (a + m)·b, of which the second has 49.
    """
    a1, a2 = m1.floor(), m2.floor()
    b1, b2 = m1 - a1, m2 - a2
    rest = _rounded(torch.mul(a1, b2).addcmul_(b1, m2))
    s12 = _rounded(xy).addcmul_(a1, a2, value=-1).sub_(rest)
    squares = []
    for m, a, b, square in ((m1, a1, b1, xx), (m2, a2, b2, yy)):
        rest = _rounded(m.add_(a).mul_(b))
        squares.append(_rounded(square).addcmul_(a, a, value=-1).sub_(rest))
    return _Moments(squares[0], squares[1].clamp_min_(0), s12.clamp_min_(0))


@dataclass
class _Sums:
    """Σ of libvmaf's four accumulators over pixels, each (N,) int64; logarithms in 1/32768."""

    num_log: Tensor  #: (limits, N)
    den_log: Tensor
    flat_error: Tensor  #: Σ σ2² where the reference is flat
    flat: Tensor  #: how many pixels those are

    @classmethod
    def none(cls, limits: int, frames: Tensor) -> _Sums:
        zero = frames.new_zeros(len(frames), dtype=torch.int64)
        return cls(zero.repeat(limits, 1), zero, zero.double(), zero.double())

    def add(self, moments: _Moments, limits: Sequence[float]) -> None:
        s1, s2 = moments.s1, moments.s2
        # Whole numbers clamped to 0..1 are masks that cost no branch.
        textured = (s1 - (_NOISE - 1)).clamp_(0, 1)
        self.flat = self.flat + (s1[:, 0].numel() - textured.sum((0, 2)))
        s1 *= textured
        error = s2 * textured
        self.flat_error = self.flat_error + (s2.sum((0, 2)) - error.sum((0, 2)))
        s12 = moments.s12.mul_(error.clamp(0, 1))
        self.den_log = self.den_log + _sixteenths(s1 + _NOISE) - _NO_LOG * s1[:, 0].numel()
        gain = s12 / (s1 + _EPS)
        left = error.sub_(s12.mul_(gain)).clamp_min_(0).floor_().add_(_NOISE)
        noise = _sixteenths(left)
        num_log = [
            _sixteenths(gain.clamp_max(limit).square_().mul_(s1).floor_().add_(left)) - noise
            for limit in limits
        ]
        self.num_log = self.num_log + torch.stack(num_log)

    def score(self) -> Tensor:
        """The ratio of numerator and denominator, (limits, N), both rounded to float32 before."""
        num = self.num_log.double() / 32768 + (self.flat - self.flat_error / 16384 / 65025)
        den = self.den_log.double() / 32768 + self.flat
        return (num.float() / den.float()).double()


def _sixteenths(values: Tensor) -> Tensor:
    """Σ over (W, N, rows) of 16·2048·log2(v) as libvmaf's table has it, + 16·2048·1023.

    The table takes the 16 leading bits of v, which in a float64 are exponent and upper mantissa:
    shifted down they are 2048·16·(1023 + exponent) + mantissa, the logarithm but for its curvature,
    and that is looked up by mantissa.
    """
    leading = values.view(torch.int64) >> 37
    curved = _curvature(values.device).index_select(0, (leading & 32767).flatten())
    return leading.sum((0, 2)) + curved.view(values.shape).sum((0, 2))


@cache
def _curvature(device: torch.device) -> Tensor:
    """16·round(2048·log2(32768 + m)) - 16·2048·15 - m, for the mantissas m."""
    mantissa = torch.arange(32768)
    log2 = torch.log2((mantissa + 32768).double()).float().double()
    table = 16 * ((log2 * 2048 + 0.5).floor().long() - 2048 * 15) - mantissa
    return table.int().to(device)
