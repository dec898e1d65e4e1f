"""The part of a wavelet band that counts for detail loss: all but a tenth at each side."""

from __future__ import annotations

import torch
from torch import Tensor

_BORDER = 0.1


def kept(size: int) -> int:
    """Return how many of a band's `size` rows or columns count."""
    # Truncated towards zero, as libvmaf's C cast is.
    return size - 2 * int(size * _BORDER - 0.5)


def middle(details: Tensor) -> Tensor:
    """Return what counts of (..., H, W) and a pixel around it.

    Where the band ends there, the pixel is its second row or column mirrored, and its last repeated.
    """
    for axis in (-2, -1):
        size = details.shape[axis]
        edge = (size - kept(size)) // 2
        if edge:
            details = details.narrow(axis, edge - 1, size - 2 * edge + 2)
        else:
            first = details.narrow(axis, min(1, size - 1), 1)
            last = details.narrow(axis, size - 1, 1)
            details = torch.cat([first, details, last], dim=axis)
    return details
