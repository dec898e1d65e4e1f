"""Distance of Fourier spectra."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import Reduction, image_pair, reduce
from losses._registry import register


@register("fft", family="frequency", side="distortion", share=(0.0, 0.7), cost="low")
class Fft(nn.Module):
    """Mean |Re| and |Im| of the spectrum of SR - HR over the half plane of a real 2-D FFT (l1).

    criterion l2: mean of their squares; magnitude: mean √(Re² + Im²). The transform is linear: one FFT
    of the difference says what two would. norm ortho, the default, hardly depends on the patch;
    backward does not normalise (traiNNer-redux, SAFMN, MOBOSR: value × √(HW)), forward divides by
    HW: names of torch.fft. reduction sum: over the half plane, channels and batch instead of the mean.

    Images (N, C, H, W) in [0, 1]; 0 for equal images; columns of the half plane count once, as in the
    codes above. Cho et al., "Rethinking coarse-to-fine approach in single image deblurring", ICCV
    2021; Sun et al., "SAFMN", ICCV 2023.
    """

    def __init__(
        self,
        norm: Annotated[
            Literal["ortho", "backward", "forward"], "normalisation of the transform"
        ] = "ortho",
        criterion: Annotated[
            Literal["l1", "l2", "magnitude"], "distance of the complex spectra"
        ] = "l1",
        reduction: Annotated[Reduction, "mean over all numbers, or their sum"] = "mean",
    ) -> None:
        super().__init__()
        self.norm = norm
        self.criterion = criterion
        self.reduction: Reduction = reduction

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        spectrum = torch.fft.rfft2(sr - hr, norm=self.norm)
        if self.criterion == "magnitude":
            return reduce(spectrum.abs(), self.reduction)
        parts = torch.view_as_real(spectrum)
        return reduce(parts.abs() if self.criterion == "l1" else parts.square(), self.reduction)
