"""Visual information fidelity at four scales as VMAF-NEG credits it, differentiable in SR.

libvmaf rounds local means to 1/256 before it squares them, which shifts variances by up to half a
unit: at random, but where a variance or a gain is clamped, never to one side. Here every clamp is
replaced by its mean over those errors. That is smooth, and closer to libvmaf than libvmaf's own
floating point.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses._windows import Taps, filtered, window

#: libvmaf's Gaussians of 17, 9, 5 and 3 taps, each summing to 65536.
_OUTER = (489, 935, 1640, 2640, 3896, 5274, 6547, 7455, 7784)
GAUSSIANS = (
    (*_OUTER, *_OUTER[-2::-1]),
    (1244, 3663, 7925, 12590, 14692, 12590, 7925, 3663, 1244),
    (3571, 16004, 26386, 16004, 3571),
    (10904, 43728, 10904),
)
_WINDOWS = tuple(window([tap / 65536 for tap in taps], "reflect") for taps in GAUSSIANS)
_HALVING = tuple(Taps(w.taps, "reflect", w.before, stride=2) for w in _WINDOWS)
_NOISE = 2.0
_EPS = 1e-10
_LEAST_SPREAD = 1e-8  #: keeps what is divided by a deviation of 0, and its root's gradient, finite
_STEP = 1 / 256
#: Variance of a mean's error by scale: its columns are rounded to a step, then averaged along rows.
_ERRORS = tuple(_STEP**2 / 12 * sum(tap**2 for tap in w.taps) for w in _WINDOWS)


def fidelity(dis: Tensor, ref: Tensor) -> Tensor:
    """Return VIF (N, 4) of luma (N, 1, H, W) in code values less 128; no gradient reaches `ref`."""
    scores = []
    for scale, smooth in enumerate(_WINDOWS):
        if scale:
            height, width = dis.shape[-2] // 2, dis.shape[-1] // 2
            half = [_HALVING[scale]]
            dis, ref = (filtered(z, half, half)[..., :height, :width] for z in (dis, ref))
        maps = torch.cat([ref, dis, ref * ref, dis * dis, ref * dis], dim=1)
        scores.append(_ratio(filtered(maps, [smooth], [smooth]), _ERRORS[scale]))
    return torch.stack(scores, dim=-1)


def _ratio(means: Tensor, error: float) -> Tensor:
    """Information that SR keeps over what HR has, (N,), of means of x, y, x², y² and xy (N, 5, H, W).

    `error` is the variance of the error of libvmaf's means.
    """
    x, y, xx, yy, xy = means.unbind(1)
    ref, dis, both = xx - x * x, (yy - y * y).clamp_min(0), (xy - x * y).clamp_min(0)
    bright = x + 128
    textured = torch.special.ndtr((ref - _NOISE) / _deviation(4 * error * bright.square()))
    # A floor under the flat pixels, which hardly count, keeps their gradient finite.
    ref = ref.clamp_min(_NOISE)
    gain = both / (ref + _EPS)
    # First order in the errors of both means: how far they move the gain, and what SR adds.
    apart = (y - x) + bright * (1 - gain)
    moves = bright.square() + (apart - gain * bright).square()
    # Equal means have equal errors, which do not move the gain; the change is spread over 4 steps.
    unlike = (y - x).square()
    moves = moves * (unlike / (unlike + (4 * _STEP) ** 2)) * (error / ref.square())
    credited = 1 - _mean_above_zero(1 - gain, _deviation(moves))
    spread = _deviation(4 * error * apart.square() * (1 + gain.square()))
    added = _mean_above_zero(dis - gain * both, spread)
    # Where the reference is flat, what counts is how flat SR is: σ² against 255² / 4.
    flat = 1 - dis * (4 / 255**2)
    kept = torch.log2(1 + credited.square() * ref / (added + _NOISE))
    had = torch.log2(1 + ref / _NOISE)
    num = torch.lerp(flat, kept, textured).sum((-2, -1))
    return num / torch.lerp(torch.ones_like(had), had, textured).sum((-2, -1))


def _deviation(variance: Tensor) -> Tensor:
    return torch.sqrt(variance + _LEAST_SPREAD**2)


def _mean_above_zero(mean: Tensor, deviation: Tensor) -> Tensor:
    """The mean of max(z, 0), z normal with this mean and deviation."""
    z = mean / deviation
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    above: Tensor = mean * torch.special.ndtr(z) + deviation * density
    return above
