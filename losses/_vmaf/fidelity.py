"""Visual information fidelity at four scales as VMAF-NEG credits it, differentiable in SR."""

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
_TINY = 1e-16  #: gives roots of 0 a gradient
#: Variance of the error of a mean whose columns are rounded to 1/256, times 4, by scale.
_ROUNDING = tuple(4 / 256**2 / 12 * sum(tap**2 for tap in w.taps) for w in _WINDOWS)
#: (s + √(s² + c·σ²))/2 is the mean of max(s + e, 0), e normal with variance σ², at s = 0 for c = 2/π.
_MEAN_EXCESS = 2 / math.pi


def fidelity(dis: Tensor, ref: Tensor) -> Tensor:
    """Return VIF (N, 4) of luma (N, 1, H, W) in code values less 128; no gradient reaches `ref`."""
    scores = []
    for scale, smooth in enumerate(_WINDOWS):
        if scale:
            height, width = dis.shape[-2] // 2, dis.shape[-1] // 2
            half = [_HALVING[scale]]
            dis, ref = (filtered(z, half, half)[..., :height, :width] for z in (dis, ref))
        maps = torch.cat([ref, dis, ref * ref, dis * dis, ref * dis], dim=1)
        scores.append(_ratio(filtered(maps, [smooth], [smooth]), _ROUNDING[scale]))
    return torch.stack(scores, dim=-1)


def _ratio(means: Tensor, rounding: float) -> Tensor:
    """Information that SR keeps over what HR has, (N,), of means of x, y, x², y² and xy (N, 5, H, W)."""
    x, y, xx, yy, xy = means.unbind(1)
    ref, dis, both = xx - x * x, (yy - y * y).clamp_min(0), (xy - x * y).clamp_min(0)
    # Rounding decides, too, on which side of the noise a faint texture falls.
    spread = (rounding * (x + 128).square() + _TINY).sqrt()
    textured = torch.special.ndtr((ref - _NOISE) / spread)
    # A floor under the flat pixels, which are left out, keeps their unused gradient finite.
    ref = ref.clamp_min(_NOISE)
    gain = both / (ref + _EPS)
    # σ² of the error that libvmaf's rounded means leave in the noise that SR adds, which is never
    # below 0 there, so that on average it is more than 0 where it should be none.
    error = rounding * ((y - gain * x) + 128 * (1 - gain)).square() * (1 + gain.square())
    added = dis - gain * both
    added = (added + torch.sqrt(added.square() + _MEAN_EXCESS * error + _TINY)) / 2
    # Where the reference is flat, what counts is how flat SR is: σ² against 255² / 4.
    flat = 1 - dis * (4 / 255**2)
    kept = torch.log2(1 + gain.clamp_max(1).square() * ref / (added + _NOISE))
    had = torch.log2(1 + ref / _NOISE)
    num = torch.lerp(flat, kept, textured).sum((-2, -1))
    return num / torch.lerp(torch.ones_like(had), had, textured).sum((-2, -1))
