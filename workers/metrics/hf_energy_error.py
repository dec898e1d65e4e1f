"""Error of the energy at frequencies that only HR can carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register_each
from workers.metrics._still import ImageUnusable

if TYPE_CHECKING:
    from torch import Tensor

    from workers.metrics._still import Still

BLOCK = 32  #: pixels; the texture of a region is compared with the texture of that region
SMALLEST = 8  #: pixels a side


@register_each(
    MetricInfo(
        name="hf_energy_error",
        summary="Mean over 32×32 Hann blocks (half overlapping) of |10·log10| of the ratio, SR over "
        "HR, of luma energy beyond the Nyquist frequency of the LR grid; noise of one grey level is "
        "added to both. 0: as much detail as HR, everywhere. Smooth images score badly, and so do "
        "noisy ones. Luma is Y of BT.601 studio swing, without a border of scale pixels.",
        direction="minimize",
        side="perception",
        unit="dB",
        needs=["scale"],
    )
)
def hf_energy_error(still: Still) -> float:
    """How far the amount of invented detail is off, in dB.

    LR cannot tell what lies beyond its Nyquist frequency, and the least mean squared error is to
    put nothing there; so this error and PSNR pull in opposite directions (Blau and Michaeli,
    CVPR 2018). It does not look at where inside a block the detail lies, nor of which kind it is.
    """
    if still.scale < 2:
        raise ImageUnusable("hf_energy_error needs the scale of the SR images, 2 or more")
    sr, hr = still.inside(still.sr_luma), still.inside(still.hr_luma)
    decibels = 10 * torch.log10(_energy(sr, still.scale) / _energy(hr, still.scale))
    return float(decibels.abs().mean().item())


def _energy(image: Tensor, scale: int) -> Tensor:
    """Energy per block beyond 0.5/scale cycles per pixel in either direction, plus the floor."""
    side = min(BLOCK, *image.shape)
    if side < SMALLEST:
        raise ImageUnusable(f"hf_energy_error needs {SMALLEST} pixels a side inside the border")
    blocks = image.float().unfold(0, side, side // 2).unfold(1, side, side // 2)
    blocks = blocks - blocks.mean(dim=(-2, -1), keepdim=True)
    hann = torch.hann_window(side, periodic=True, device=image.device)
    window = hann[:, None] * hann
    power = torch.fft.rfft2(blocks * window).abs().square()
    counted = _counted(side, scale).to(power)
    # White noise of variance 1 has this energy in each bin. Texture below it is not seen, and the
    # ratio of two amounts of nothing would drown the rest.
    floor = window.square().sum() * counted.sum()
    energy: Tensor = torch.einsum("...uv,uv->...", power, counted) + floor
    return energy


def _counted(side: int, scale: int) -> Tensor:
    """How often each bin of rfft2 counts: 0 if LR carries it, 2 if its mirror image is left out."""
    rows, columns = torch.fft.fftfreq(side).abs(), torch.fft.rfftfreq(side)
    beyond = torch.maximum(rows[:, None], columns) > 0.5 / scale
    mirrored = (columns > 0) & (columns < 0.5)
    counted: Tensor = beyond * (1 + mirrored.int())
    return counted
