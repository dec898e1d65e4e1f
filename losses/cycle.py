"""Whether LR can be found again in SR, asked of a trained network."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from losses._functional import (
    Criterion,
    UnsuitableInput,
    as_constant,
    distance,
    full_precision,
    image_pair,
)
from losses._registry import register
from losses._shrinkers import Shrinker
from losses._spec import InvalidParameter, Range


@register(
    "cycle",
    family="cycle",
    side="distortion",
    share=(0.0, 0.5),
    cost="medium",
    compares=False,
)
class Cycle(nn.Module):
    """How far SR, shrunk by a second, trained network S, is from the LR image it was made from.

    criterion l1: mean |S(SR) - LR|, as used in practice; l2: mean square; survey: Euclidean norm of
    each sample / hwc of LR, mean over the batch (Wang, Chen, Hoi, "Deep learning for image
    super-resolution: a survey", 2020, sec. 3.4; cf. CinCGAN, Yuan et al., CVPR workshops 2018);
    frobenius: the norm of the whole batch.

    S (`build_shrinker`) is a small strided CNN that starts as a box filter. It is trained jointly by
    `shrinker_loss`: the same distance on SR, plus `anchor` times the distance of S(HR) from LR.
    Without the anchor, generator and S could agree on any code: S reads LR out of whatever pattern the
    generator hides it in, both losses reach 0 and nothing holds SR near an image. The anchor makes S
    the degradation that made LR from HR, which is what SR is then asked to be consistent with.

    Images (N, 3, H, W) in [0, 1], LR (N, 3, H/scale, W/scale). The value is least where S(SR) = LR,
    which SR = HR only nearly is; many SR share one LR, so that this is a constraint beside other
    terms. `forward` leaves S as it was: no gradient reaches its parameters.
    """

    def __init__(
        self,
        scale: Annotated[int, Range(0, 16), "HR's side over LR's; 0: the study's, filled in"] = 0,
        criterion: Annotated[Criterion, "distance of the shrunk image from LR"] = "l1",
        channels: Annotated[int, Range(4, 256), "width of the shrinking network"] = 32,
        depth: Annotated[int, Range(0, 16), "its 3×3 layers after the strided one"] = 2,
        anchor: Annotated[
            float, Range(0, 100), "weight of S(HR) against LR in the training of S"
        ] = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.criterion: Criterion = criterion
        self.channels = channels
        self.depth = depth
        self.anchor = anchor

    def build_shrinker(self) -> nn.Module:
        """Return a fresh shrinking network; seed torch's global generator before (`fork_rng`)."""
        if self.scale < 2:
            raise InvalidParameter(
                f"cycle.scale is {self.scale}, but a network that shrinks must know by how much; set it to "
                "the scale of the model, 2 or more."
            )
        return Shrinker(self.scale, self.channels, self.depth)

    def forward(self, sr: Tensor, hr: Tensor, *, lr: Tensor, shrinker: nn.Module) -> Tensor:
        sr, hr = image_pair(sr, hr)
        return self._distance(as_constant(shrinker, sr), lr)

    def shrinker_loss(self, sr: Tensor, hr: Tensor, shrinker: nn.Module, *, lr: Tensor) -> Tensor:
        """Return the scalar the shrinking network minimises; SR is detached here."""
        sr, hr = image_pair(sr.detach(), hr.detach())
        if self.anchor == 0:
            return self._distance(shrinker(sr), lr)
        of_sr, of_hr = shrinker(torch.cat([sr, hr])).split(len(sr))
        return self._distance(of_sr, lr) + self.anchor * self._distance(of_hr, lr)

    def _distance(self, shrunk: Tensor, lr: Tensor) -> Tensor:
        if shrunk.shape != lr.shape:
            raise UnsuitableInput(
                f"Shrunk images are {tuple(shrunk.shape)}, but LR is {tuple(lr.shape)}; cycle.scale must "
                "be HR's side over LR's."
            )
        return distance(full_precision(shrunk), full_precision(lr), self.criterion)
