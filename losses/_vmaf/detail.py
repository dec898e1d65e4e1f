"""Detail loss (DLM, adm2) over four scales of wavelets as VMAF-NEG credits it, differentiable in SR."""

from __future__ import annotations

import torch
from torch import Tensor

from losses._vmaf.middle import kept, middle
from losses._vmaf.sensitivity import weights
from losses._windows import Taps, filtered

_LOW = Taps((0.482962913, 0.836516304, 0.224143868, -0.129409523), stride=2)
_HIGH = Taps((-0.129409523, -0.224143868, 0.836516304, -0.482962913), stride=2)
_SCALES = 4
_NOISE = 1 / 32
#: Under the cube root of a sum that can be 0; far below what a visible pixel adds.
_TINY = 1e-12


def detail(dis: Tensor, ref: Tensor) -> Tensor:
    """Return ADM2 (N,) of luma (N, 1, H, W) in code values less 128; no gradient reaches `ref`."""
    num = den = dis.new_zeros(())
    for scale in range(_SCALES):
        (dis, t), (ref, o) = _bands(dis), _bands(ref)
        o, t = o * _factors(scale, o), t * _factors(scale, o)
        rows, columns = (kept(size) for size in o.shape[-2:])
        noise = (rows * columns * _NOISE) ** (1 / 3)
        o, t = middle(o), middle(t)
        # k·o with k = t/o between 0 and 1: t, kept between 0 and o.
        restored = torch.maximum(torch.minimum(t, o.clamp_min(0)), o.clamp_max(0))
        seen = (_inside(restored).abs() - _threshold(t - restored)).clamp_min(0)
        num = num + (_cubic(seen) + noise).sum(1)
        den = den + (_cubic(_inside(o).abs()) + noise).sum(1)
    return num / den


def _bands(images: Tensor) -> tuple[Tensor, Tensor]:
    """One level of Daubechies' second wavelet: (N, 1, h, w), and details h, v, d (N, 3, h, w)."""
    for axis in (-2, -1):
        size = images.shape[axis]
        last, second_last = (images.narrow(axis, size - k, 1) for k in (1, 2))
        ends = [last, second_last] if size % 2 else [last]
        images = torch.cat([images.narrow(axis, 1, 1), images, *ends], dim=axis)
    both = filtered(images, [_LOW, _HIGH], [_LOW, _HIGH])
    height, width = both.shape[-2] // 2, both.shape[-1] // 2
    low, high = both[..., :height, :], both[..., height:, :]
    details = (high[..., :width], low[..., width:], high[..., width:])
    return low[..., :width], torch.cat(details, dim=1)


def _factors(scale: int, like: Tensor) -> Tensor:
    factors, _ = weights(scale)
    return like.new_tensor(factors).view(3, 1, 1)


def _threshold(added: Tensor) -> Tensor:
    """What the added detail of all bands masks: a thirtieth of the 3×3 around, the centre twice."""
    near = added.abs().sum(1, keepdim=True) / 30
    across = near[..., :-2] + near[..., 1:-1] + near[..., 2:]
    around = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    return around + _inside(near)


def _inside(bordered: Tensor) -> Tensor:
    return bordered[..., 1:-1, 1:-1]


def _cubic(contrast: Tensor) -> Tensor:
    """(Σ c³)^(1/3) over each band."""
    return (contrast.pow(3).sum((-2, -1)) + _TINY).pow(1 / 3)
