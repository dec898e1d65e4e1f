"""How much the reference moves, as VMAF counts it: a number beside the images, without gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from losses._vmaf.fidelity import GAUSSIANS
from losses._windows import filtered, window

_SMOOTH = window([tap / 65536 for tap in GAUSSIANS[2]], "reflect")


@torch.no_grad()
def movement(current: Tensor, previous: Tensor | None, following: Tensor | None) -> Tensor:
    """Return motion2 (N,) of luma (N, 1, H, W) in code values.

    The lesser of the mean absolute differences of smoothed luma from the frame before and to the
    frame after. Without a frame before it is 0, as of a clip's first frame; without one after, the
    difference from before, as of its last.
    """
    if previous is None:
        return current.new_zeros(len(current))
    moved = _difference(previous, current)
    return moved if following is None else torch.minimum(moved, _difference(current, following))


def _difference(a: Tensor, b: Tensor) -> Tensor:
    return filtered(a - b, [_SMOOTH], [_SMOOTH]).abs().mean((-3, -2, -1))
