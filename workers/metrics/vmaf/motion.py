"""How much the reference moves from frame to frame, in the integers of libvmaf 3.2 and later.

The mean absolute difference of smoothed frames (libvmaf's integer_motion.c). Older versions repeated
the edge at the right and the bottom, which moves scores by up to 0.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_OUTER, _INNER, _CENTRE = 3571, 16004, 26386  #: a Gaussian; both sides together sum to 65536


def differences(frames: Tensor, *, bits: int, pixels: int) -> Tensor:
    """Return the motion (N - 1,) from each of N reference frames (N, H, W) to its next, float64.

    Frames are whole numbers in float32, borders mirrored without repeating the edge; `pixels` are
    worked on at a time.
    """
    height, width = frames.shape[1:]
    padded = F.pad(frames, (2, 2, 2, 2), mode="reflect")
    some = max(1, pixels // width)
    total = frames.new_zeros(max(0, len(frames) - 1), dtype=torch.float64)
    for k in range(len(total)):
        for top in range(0, height, some):
            rows = slice(top, top + some + 4)
            total[k] += _difference(padded[k, rows] - padded[k + 1, rows], bits)
    return total / 256 / (width * height)


def _difference(change: Tensor, bits: int) -> Tensor:
    """Σ|smoothed change| of a strip with two pixels around it. Sums of 8 bits fit float32."""
    down = _smooth(change if bits == 8 else change.double(), 0)
    down.mul_(2.0**-bits).add_(0.5).floor_()
    return _smooth(down.double(), 1).mul_(2.0**-16).add_(0.5).floor_().abs_().sum()


def _smooth(padded: Tensor, axis: int) -> Tensor:
    length = padded.shape[axis] - 4
    a, b, c, d, e = (padded.narrow(axis, start, length) for start in range(5))
    return c.mul(_CENTRE).add_(b + d, alpha=_INNER).add_(a + e, alpha=_OUTER)


def motion2(to_next: Tensor) -> Tensor:
    """Return motion2 (N,) of a clip from its N - 1 differences: the lesser of before and after.

    The first frame has none, and the last only what was before.
    """
    zero = to_next.new_zeros(1)
    return torch.cat([zero, torch.minimum(to_next[:-1], to_next[1:]), to_next[-1:]])
