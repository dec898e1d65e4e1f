"""RGB of luma and chroma, by a stated matrix and range."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.data.media import Matrix, Picture

#: Weights of red and blue in luma.
RED_BLUE: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


def rgb(picture: Picture, matrix: Matrix, *, full_range: bool) -> Tensor:
    """Return RGB, float64 (3, H, W), whole numbers in 0..255.

    Subsampled chroma is enlarged bilinearly, its samples taken as centred on the pixels they cover.
    """
    if picture.model == "rgb":
        return torch.stack([torch.from_numpy(plane) for plane in picture.planes]).double()
    y, cb, cr = _normalised(picture, full_range=full_range)
    red, blue = RED_BLUE[matrix]
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return torch.stack([r, g, b]).mul_(255).round_().clamp_(0, 255)


def _normalised(picture: Picture, *, full_range: bool) -> Tensor:
    """Y in 0..1 and chroma in -0.5..0.5, all of luma's size."""
    size = picture.planes[0].shape
    planes = []
    for plane in picture.planes:
        values = torch.from_numpy(plane).double()[None, None]
        if plane.shape != size:
            values = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
        planes.append(values[0, 0])
    y, cb, cr = planes
    top = 2**picture.bits - 1
    middle, step = 2 ** (picture.bits - 1), 2 ** (picture.bits - 8)
    black, white, swing = (0, top, top) if full_range else (16 * step, 219 * step, 224 * step)
    return torch.stack([(y - black) / white, (cb - middle) / swing, (cr - middle) / swing])
