"""Detail loss (DLM, adm2) over four scales of wavelets, in the integers of libvmaf.

Li, Zhang, Ma, Ngan, "Image quality assessment by separately evaluating detail losses and additive
impairments", 2011; fixed point by Netflix (libvmaf's integer_adm.c), roundings and quirks included.
Only what the score is made of is computed: the middle of each band, without a tenth at each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from losses._vmaf.middle import kept, middle
from workers.metrics.vmaf import decoupling, wavelets
from workers.metrics.vmaf.masking import Contrast

SCALES = 4


def adm2(ref: Tensor, dis: Tensor, *, bits: int, limits: Sequence[float], pixels: int) -> Tensor:
    """Return ADM2 (limits, N) of luma frames (N, H, W), whole numbers in float32.

    `limits` are the enhancement gains credited (100: practically any, 1: none), `pixels` how many
    are worked on at a time.
    """
    num = den = torch.zeros((), dtype=torch.float64, device=ref.device)
    bands = [wavelets.first(frames, bits=bits, pixels=pixels) for frames in (ref, dis)]
    for scale in range(SCALES):
        if scale:
            bands = [wavelets.following(band.approximation, scale, pixels=pixels) for band in bands]
        height, width = bands[0].details.shape[-2:]
        contrast = Contrast(scale, height, width, rows=kept(height), columns=kept(width))
        o, t = (middle(band.details) for band in bands)
        reference = o.new_zeros(len(o), 3, dtype=torch.int64)
        visible = reference.repeat(len(limits), 1, 1)
        for some_o, some_t in zip(_strips(o, pixels), _strips(t, pixels), strict=True):
            reference += contrast.of_reference(some_o[..., 1:-1, 1:-1])
            restored = decoupling.restored(some_o, some_t, scale, limits)
            for sums, r in zip(visible, restored, strict=True):
                sums += contrast.of_restored(r, some_t - r)
        den = den + contrast.reference_norm(reference)
        num = num + contrast.restored_norm(visible)
    return num / den


def _strips(details: Tensor, pixels: int) -> Iterator[Tensor]:
    """Cut (N, 3, H, W) into strips of rows that share a row with their neighbours on either side."""
    count, _, height, width = details.shape
    rows = max(1, pixels // (3 * count * width))
    for top in range(0, height - 2, rows):
        yield details[:, :, top : top + rows + 2]
