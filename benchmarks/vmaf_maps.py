"""VMAF's parts before they are summed: where in an image information and detail are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from losses._vmaf.fidelity import GAUSSIANS
from losses._vmaf.middle import middle
from losses._vmaf.sensitivity import weights
from losses._windows import Taps, filtered, window
from workers.metrics.vmaf import decoupling, wavelets

#: The gains credited: plain VMAF's, and NEG's.
PLAIN, NEG = 100.0, 1.0
_NOISE = 2.0
_PIXELS = 2**17
#: What a code value is worth in the whole numbers of each scale's wavelet bands.
_UNITS = (2.0**6, 2.0**21, 2.0**19, 2.0**18)


@dataclass(frozen=True)
class Information:
    """One scale of VIF: bits per pixel in the original, and those that the other image keeps, (h, w)."""

    had: Tensor
    kept: Tensor

    @property
    def score(self) -> float:
        return float(self.kept.sum() / self.had.sum())


@dataclass(frozen=True)
class Detail:
    """One scale of ADM: contrast by the eye's sensitivity, (3, h, w), without a tenth at each side."""

    original: Tensor
    added: Tensor  #: what the other image has that restores none of it, and masks
    seen: Tensor  #: what the other image restores, less what the added masks

    @property
    def norms(self) -> tuple[float, float]:
        """Return what counts of the restored, and of the original."""
        area = self.original[0].numel()
        noise = 3 * (area / 32) ** (1 / 3)
        seen, had = (
            float(x.pow(3).sum((-2, -1)).pow(1 / 3).sum()) for x in (self.seen, self.original)
        )
        return seen + noise, had + noise


def information(ref: Tensor, dis: Tensor, *, limit: float) -> list[Information]:
    """Return the four scales of luma (H, W) in code values, by VIF's formula without roundings."""
    x, y = (luma[None, None].double() - 128 for luma in (ref, dis))
    found = []
    for scale, taps in enumerate(GAUSSIANS):
        smooth = window([tap / 65536 for tap in taps], "reflect")
        if scale:
            half = [Taps(smooth.taps, "reflect", smooth.before, stride=2)]
            height, width = x.shape[-2] // 2, x.shape[-1] // 2
            x, y = (filtered(z, half, half)[..., :height, :width] for z in (x, y))
        mx, my, xx, yy, xy = (
            filtered(z, [smooth], [smooth])[0, 0] for z in (x, y, x * x, y * y, x * y)
        )
        found.append(_bits(xx - mx * mx, (yy - my * my).clamp_min(0), xy - mx * my, limit))
    return found


def _bits(ref: Tensor, dis: Tensor, both: Tensor, limit: float) -> Information:
    """Of local variances and the covariance; where the original is flat, what counts is how flat dis is."""
    textured = ref >= _NOISE
    gain = both.clamp_min(0) / ref.clamp_min(_NOISE)
    left = (dis - gain * both).clamp_min(0)
    kept = torch.log2(1 + gain.clamp_max(limit).square() * ref / (left + _NOISE))
    had = torch.log2(1 + ref / _NOISE)
    flat = 1 - dis * (4 / 255**2)
    return Information(
        torch.where(textured, had, torch.ones_like(had)), torch.where(textured, kept, flat)
    )


def detail(ref: Tensor, dis: Tensor, *, limit: float) -> list[Detail]:
    """Return the four scales of luma (H, W), whole code values, by the exact path's own decoupling."""
    bands = [
        wavelets.first(luma[None].float(), bits=8, pixels=_PIXELS) for luma in (ref, dis)
    ]  # fmt: skip
    found = []
    for scale, unit in enumerate(_UNITS):
        if scale:
            bands = [wavelets.following(b.approximation, scale, pixels=_PIXELS) for b in bands]
        o, t = (middle(b.details) for b in bands)
        (r,) = decoupling.restored(o, t, scale, [limit])
        factors = o.new_tensor(weights(scale)[0]).view(3, 1, 1) / unit
        original, restored, added = ((z[0] * factors).abs() for z in (o, r, t - r))
        seen = (_inside(restored) - _mask(added)).clamp_min(0)
        found.append(Detail(_inside(original), _inside(added), seen))
    return found


def _mask(added: Tensor) -> Tensor:
    """A thirtieth of the added contrast of all bands in the 3×3 around, the centre counted twice."""
    near = added.sum(0, keepdim=True)[None] / 30
    around = 9 * torch.nn.functional.avg_pool2d(near, 3, stride=1)
    return (around + _inside(near))[0]


def _inside(bordered: Tensor) -> Tensor:
    return bordered[..., 1:-1, 1:-1]


def dlm(scales: list[Detail]) -> float:
    """Return ADM2, the detail of all scales together."""
    seen, had = zip(*(scale.norms for scale in scales), strict=True)
    ratio: float = sum(seen) / sum(had)
    return ratio
