"""Luma of RGB, by a stated matrix."""

from __future__ import annotations

from torch import Tensor

from workers.data.colour import RED_BLUE
from workers.data.media import Matrix
from workers.metrics._still import luma as luma_bt601


def luma(rgb: Tensor, matrix: Matrix) -> Tensor:
    """Return Y of studio swing, (H, W) in 16..235, not rounded, of RGB (3, H, W) in 0..255."""
    if matrix == "bt601":
        return luma_bt601(rgb)
    red, blue = RED_BLUE[matrix]
    return 219 / 255 * (red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]) + 16
