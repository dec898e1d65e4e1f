"""The frames of a clip as photographs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch

from workers.data.colour import rgb
from workers.data.media import Matrix, Picture, pictures

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

#: Lines from which video that declares no matrix is taken to be BT.709.
HD = 720


def frames(path: Path, limit: int) -> Iterator[Tensor]:
    """Yield the first `limit` frames of a clip as uint8 (3, H, W), RGB.

    YUV becomes RGB by the matrix and range that the file declares, else BT.709 from 720 lines and
    BT.601 below, in studio swing. Depth beyond 8 bits is rounded away. Raises DataError.
    """
    for picture in islice(pictures(path), limit):
        if picture.model == "grey":
            luma = torch.from_numpy(picture.planes[0]).double() / 2 ** (picture.bits - 8)
            yield luma.round().clamp(0, 255).to(torch.uint8).expand(3, -1, -1).contiguous()
        else:
            yield rgb(picture, _matrix(picture), full_range=bool(picture.full_range)).to(
                torch.uint8
            )


def _matrix(picture: Picture) -> Matrix:
    return picture.matrix or ("bt709" if picture.size[1] >= HD else "bt601")
