"""Distance of wavelet bands, each with its own weight."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import UnsuitableInput, image_pair, luma
from losses._registry import register
from losses._spec import InvalidParameter
from losses._wavelets import LOW_PASS, Family, high_pass
from losses._windows import Taps, filtered

Transform = Literal["stationary", "undilated", "decimated"]

#: WGSR's weights, for bands that are not named.
_DEFAULT = {"LL": 0.1, "LH": 0.01, "HL": 0.01, "HH": 0.05}
_BAND = re.compile(r"(LL|LH|HL|HH)([2-5]?)")
_STUDIO = (65.481, 128.553, 24.966)


@register("wavelet", family="frequency", side="distortion", share=(0.0, 0.7), cost="medium")
class Wavelet(nn.Module):
    """Weighted sum over wavelet bands of mean |ΔB| (l1) or mean ΔB² (l2), borders periodic.

    Bands: LL (blurred both ways), LH (low along x, high along y: PyWavelets' cH), HL (cV), HH (cD) of
    the first level, LL2, LH2, ... of the levels below, to 5; a list weighs each 1, none means WGSR's
    LL .1, LH .01, HL .01, HH .05. transform stationary: full size at each level, filters dilated
    (PyWavelets' swt2); undilated: the same filters again on LL, as WGSR's second level; decimated:
    halved at each level (PyWavelets' dwt2 with mode periodization, odd sides repeated once).
    lowpass orthonormal: taps sum to √2, so that LL is 2 × the mean; unit_sum: to 1, high pass as it is.

    channels luma and rgb are in [0, 1]; y_studio is Y in 16..235, 219 times larger. WGSR: family sym7
    or sym19, unit_sum, y_studio, l1. neosr's wavelet_guided is no loss: it makes bands for the
    discriminator, without gradient. Images (N, C, H, W) in [0, 1], C = 3
    but for rgb, of any size; 0 for equal images. Korkmaz, Tekalp, Dogan, "Training generative image
    super-resolution models by wavelet-domain losses", CVPR 2024; Daubechies 1992.
    """

    def __init__(
        self,
        family: Annotated[Family, "which wavelet; db and sym as PyWavelets names them"] = "haar",
        bands: Annotated[
            Mapping[str, float] | Sequence[str], "weight of each band, or their names"
        ] = (),
        transform: Annotated[Transform, "whether bands keep the image's size"] = "stationary",
        lowpass: Annotated[
            Literal["orthonormal", "unit_sum"], "normalisation of the low pass"
        ] = "orthonormal",
        channels: Annotated[
            Literal["luma", "rgb", "y_studio"], "BT.601 luma, each channel, or Y in 16..235"
        ] = "luma",
        criterion: Annotated[Literal["l1", "l2"], "distance of the bands"] = "l1",
    ) -> None:
        super().__init__()
        self.weights = _band_weights(bands)
        self.levels = max(level for level, _ in self.weights)
        low = LOW_PASS[family]
        total = sum(low) if lowpass == "unit_sum" else 1.0
        self.low = tuple(tap / total for tap in low)
        self.high = high_pass(low)
        self.transform: Transform = transform
        self.channels = channels
        self.criterion = criterion

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        # The transform is linear: the bands of the difference are the differences of the bands.
        low = self._in_channels(sr - hr)
        parts = []
        for level in range(1, self.levels + 1):
            bands = self.bands(low, level)
            low = bands["LL"]
            for name, band in bands.items():
                if (level, name) in self.weights:
                    size = band.abs() if self.criterion == "l1" else band.square()
                    parts.append(self.weights[level, name] * size.mean())
        return torch.stack(parts).sum()

    def _in_channels(self, difference: Tensor) -> Tensor:
        if self.channels == "rgb":
            return difference
        if self.channels == "luma":
            return luma(difference)
        if difference.shape[1] != 3:
            raise UnsuitableInput(f"Y needs 3 channels (RGB), not {difference.shape[1]}.")
        # The offset 16 of both images cancels.
        scale = torch.tensor(_STUDIO, dtype=difference.dtype, device=difference.device)
        return (difference * scale.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)

    def bands(self, low: Tensor, level: int) -> dict[str, Tensor]:
        """Return the four bands of one level, from one product with both filters on each side."""
        if self.transform == "decimated":
            odd = [side % 2 for side in low.shape[-2:]]
            low = F.pad(low, (0, odd[1], 0, odd[0]), mode="replicate")
        both = [self._taps(self.low, level), self._taps(self.high, level)]
        top, bottom = filtered(low, both, both).chunk(2, dim=-2)
        (ll, hl), (lh, hh) = top.chunk(2, dim=-1), bottom.chunk(2, dim=-1)
        return {"LL": ll, "LH": lh, "HL": hl, "HH": hh}

    def _taps(self, taps: tuple[float, ...], level: int) -> Taps:
        dilation = 2 ** (level - 1) if self.transform == "stationary" else 1
        return Taps(
            taps=taps,
            outside="circular",
            before=(len(taps) // 2 - 1) * dilation,
            stride=2 if self.transform == "decimated" else 1,
            dilation=dilation,
        )


def _band_weights(bands: Mapping[str, float] | Sequence[str]) -> dict[tuple[int, str], float]:
    """Return (level, band) to weight, without zeros, or raise `InvalidParameter`."""
    given = dict(bands) if isinstance(bands, Mapping) else dict.fromkeys(bands, 1.0)
    weights: dict[tuple[int, str], float] = {}
    for name, weight in (given or _DEFAULT).items():
        found = _BAND.fullmatch(name)
        if found is None:
            raise InvalidParameter(
                f"wavelet.bands has {name!r}, but bands are LL, LH, HL, HH, and LL2 to HH5 of lower levels."
            )
        if weight < 0:
            raise InvalidParameter(f"wavelet.bands.{name} is {weight:g}, but must be at least 0.")
        if weight > 0:
            weights[int(found[2] or 1), found[1]] = float(weight)
    if not weights:
        raise InvalidParameter("wavelet.bands has only zeros; give one band a weight.")
    return weights
