"""Bicubic enlargement of the shrunken reference: what SR is measured against where nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from workers.data.degrade import bicubic, enlarge

if TYPE_CHECKING:
    from workers.data.media import Picture, Plane
    from workers.scoring.frames import Maker


def bicubic_baseline(scale: int) -> Maker:
    """Return what makes a picture's bicubic enlargement: each plane shrunk by `scale` and enlarged.

    Only its luma is meant to be scored. Sides that do not divide are continued by their last row or
    column first.
    """

    def _make(reference: Picture) -> Picture:
        planes = reference.planes if reference.model == "rgb" else reference.planes[:1]
        return replace(
            reference,
            planes=tuple(_through(plane, scale, reference.bits) for plane in planes),
            model="rgb" if reference.model == "rgb" else "grey",
        )

    return _make


def _through(plane: Plane, scale: int, bits: int) -> Plane:
    """Rounded and clipped as if saved, both small and large."""
    height, width = plane.shape
    whole = torch.from_numpy(plane).float()[None, None]
    padded = F.pad(whole, (0, -width % scale, 0, -height % scale), mode="replicate")
    top = 2**bits - 1
    small = bicubic(padded, scale).round().clamp(0, top)
    large = enlarge(small, scale).round().clamp(0, top)[0, 0, :height, :width].numpy()
    return large.astype(np.uint8) if bits == 8 else large.astype(np.uint16)
