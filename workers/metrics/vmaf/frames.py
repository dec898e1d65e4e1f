"""What both engines take and give: luma frames, and a table of scores with notes on how to read it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.metrics._still import ImageUnusable
from workers.metrics.vmaf import fusion

SMALLEST = 33  #: pixels; on smaller frames libvmaf reads beyond its buffers
SMALL = 100  #: pixels, below which a score says little: half of the coarsest bands is border
BITS = (8, 10, 12)


class FramesUnusable(ImageUnusable):
    """Two batches of luma frames cannot be scored by VMAF; the sentence says why."""


@dataclass(frozen=True)
class Scores:
    """One number per frame under each name, in order; `flags` are sentences on how to read them.

    Columns: vmaf, vmaf_neg, vmaf_4k, vmaf_4k_neg (0..100) of the models asked for; vif_scale0..3,
    adm2, motion2; and the first five as the neg models take them, as vif_scale0_neg, ..., adm2_neg.
    """

    frames: dict[str, list[float]]
    flags: tuple[str, ...]

    def rows(self) -> list[dict[str, float]]:
        """Return the scores frame by frame."""
        return [
            dict(zip(self.frames, row, strict=True))
            for row in zip(*self.frames.values(), strict=True)
        ]

    def pooled(self) -> dict[str, dict[str, float]]:
        """Return mean, min, max and harmonic_mean over frames by column."""
        return {name: fusion.pooled(values) for name, values in self.frames.items()}


def check(
    ref: Tensor, dis: Tensor, *, bits: int, before: tuple[int, int] | None
) -> tuple[int, int]:
    """Return height and width of two batches (N, 1, H, W), or raise FramesUnusable.

    Both are uint8, or uint16 when `bits` is more than 8, of one size, which is that of `before`.
    """
    if bits not in BITS:
        raise FramesUnusable(f"bits is {bits}, but must be one of {BITS}")
    kind = torch.uint8 if bits == 8 else torch.uint16
    if ref.ndim != 4 or ref.shape[1] != 1 or ref.shape != dis.shape:
        shapes = f"reference {tuple(ref.shape)}, distorted {tuple(dis.shape)}"
        raise FramesUnusable(f"{shapes}; both must be luma (N, 1, H, W) of one size")
    if ref.dtype != kind or dis.dtype != kind or ref.device != dis.device:
        raise FramesUnusable(
            f"reference is {ref.dtype} on {ref.device}, distorted {dis.dtype} on {dis.device}; "
            f"with {bits} bits both must be {kind} on one device"
        )
    height, width = ref.shape[2:]
    if min(height, width) < SMALLEST:
        raise FramesUnusable(f"VMAF needs {SMALLEST} pixels a side, got {width}×{height}")
    if before is not None and (height, width) != before:
        raise FramesUnusable(
            f"the clip was {before[1]}×{before[0]} so far, and these frames are {width}×{height}"
        )
    if bits > 8 and len(ref):
        most = max(int(frames.to(torch.int32).max()) for frames in (ref, dis))
        if most >= 1 << bits:
            raise FramesUnusable(f"a pixel is {most}, which {bits} bits cannot hold")
    return height, width


def flags(size: tuple[int, int], count: int, *, still: bool) -> tuple[str, ...]:
    """Return what a reader of the scores of `count` frames must know."""
    height, width = size
    found = []
    if min(size) < SMALL:
        found.append(
            f"frames of {width}×{height} are small: below {SMALL} pixels scores say little"
        )
    if still or count == 1:
        found.append("motion 0: stills and single frames have no motion; do not compare with clips")
    return tuple(found)
