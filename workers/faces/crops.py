"""Faces of photographs as they lie in crops of them, whichever way a crop was turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from losses._faces import Windows

if TYPE_CHECKING:
    from workers.data.planes import Ints
    from workers.faces.detector import Boxes

    Floats = NDArray[np.float64]


def windows(
    found: Sequence[Boxes], photo: Ints, row: Ints, column: Ints, turn: Ints, side: int
) -> Windows:
    """Return the faces that lie wholly inside each crop of `Planes.cut`, upright.

    `found` has the faces of every photograph in its pixels; the other arguments are those of the
    crops: which photograph, top and left in it, which of the eight turns, height and width.
    """
    frames: list[Floats] = []
    sample: list[int] = []
    for index, (of, top, left, way) in enumerate(zip(photo, row, column, turn, strict=True)):
        corner = np.array([left, top], dtype=np.float64)
        for box in np.asarray(found[of].boxes, dtype=np.float64):
            low, high = box[:2] - corner, box[2:] - corner
            if low.min() >= 0 and high.max() <= side:
                frames.append(_turned(low, high, int(way), side))
                sample.append(index)
    stacked = np.stack(frames) if frames else np.empty((0, 2, 3))
    return Windows.of_frames(
        torch.from_numpy(stacked), torch.tensor(sample, dtype=torch.int64), len(photo)
    )


def _turned(low: Floats, high: Floats, way: int, side: int) -> Floats:
    """Return the frame of the box from `low` to `high` after a turn, bits as in `Planes.cut`.

    The crop is flipped and mirrored first and transposed last, and so is the frame.
    """
    half, centre = (high - low) / 2, (high + low) / 2
    frame = np.column_stack([np.diag(half), centre])
    for axis, bit in ((1, 1), (0, 2)):
        if way & bit:
            frame[axis] *= -1
            frame[axis, 2] += side
    return frame[::-1].copy() if way & 4 else frame
