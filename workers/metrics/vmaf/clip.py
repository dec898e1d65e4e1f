"""VMAF of a clip that arrives piece by piece, with motion across the pieces' borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from losses._vmaf import Model
from workers.metrics._still import ImageUnusable
from workers.metrics.vmaf import fusion, motion
from workers.metrics.vmaf.adm import adm2
from workers.metrics.vmaf.vif import SCALES, vif

SMALLEST = 33  #: pixels; on smaller frames libvmaf reads beyond its buffers
SMALL = 100  #: pixels, below which a score says little: half of the coarsest bands is border

_BITS = (8, 10, 12)

#: Pixels worked on at a time: what stays in a CPU's cache, and what keeps a GPU busy within 2 GB.
_PIXELS = {"cpu": 2**17, "cuda": 2**22}


class FramesUnusable(ImageUnusable):
    """Two batches of luma frames cannot be scored by VMAF; the sentence says why."""


@dataclass(frozen=True)
class Scores:
    """One number per frame under each name, in order; `flags` are sentences on how to read them.

    Columns: vmaf, vmaf_neg, ... (0..100, by model), vif_scale0..3, adm2, motion2, and the features
    of the models without enhancement gain as vif_scale0_neg, ..., adm2_neg.
    """

    frames: dict[str, list[float]]
    flags: tuple[str, ...]

    def pooled(self) -> dict[str, dict[str, float]]:
        """Return mean, min, max and harmonic_mean over frames by column."""
        return {name: fusion.pooled(values) for name, values in self.frames.items()}


class Clip:
    """The exact scores of one clip, equal to libvmaf's to the last bit that it prints.

    `add` takes consecutive frames, reference first, as luma code values (N, 1, H, W): uint8, or uint16
    of `bits` 10 or 12. With `still` every frame is scored on its own, without motion.
    """

    def __init__(
        self,
        *,
        bits: int = 8,
        models: Sequence[str] = ("vmaf_v0.6.1", "vmaf_v0.6.1neg"),
        still: bool = False,
        pixels: int | None = None,
    ) -> None:
        self.bits = bits
        self.still = still
        self._models = [Model.named(name) for name in models]
        self._limits = fusion.limits(self._models)
        self._pixels = pixels
        self._size: tuple[int, ...] = ()
        self._last: Tensor | None = None
        self._features: list[Tensor] = []
        self._differences: list[Tensor] = []

    def add(self, ref: Tensor, dis: Tensor) -> None:
        """Take the next frames; raises FramesUnusable and keeps nothing of them."""
        self._check(ref, dis)
        pixels = self._pixels or _PIXELS.get(ref.device.type, 2**17)
        height, width = ref.shape[-2:]
        some = max(1, pixels // (height * width))
        for start in range(0, len(ref), some):
            frames = slice(start, start + some)
            self._add(ref[frames, 0].float(), dis[frames, 0].float(), pixels)

    @torch.no_grad()
    def _add(self, ref: Tensor, dis: Tensor, pixels: int) -> None:
        bits, limits = self.bits, self._limits
        fidelity = vif(ref, dis, bits=bits, limits=limits, pixels=pixels)
        detail = adm2(ref, dis, bits=bits, limits=limits, pixels=pixels)
        self._features.append(torch.cat([detail[..., None], fidelity], dim=-1))
        if not self.still:
            moving = ref if self._last is None else torch.cat([self._last, ref])
            self._differences.append(motion.differences(moving, bits=bits, pixels=pixels))
            self._last = ref[-1:]

    def scores(self) -> Scores:
        """Return the scores of all frames so far, as of a clip that ends here."""
        if not self._features:
            return Scores({}, ())
        features = torch.cat(self._features, dim=1)
        count = features.shape[1]
        if self.still:
            moved = features.new_zeros(count)
        else:
            moved = motion.motion2(torch.cat(self._differences))
        by_limit = {
            limit: {"adm2": parts[:, 0], "motion2": moved}
            | {f"vif_scale{scale}": parts[:, 1 + scale] for scale in range(SCALES)}
            for limit, parts in zip(self._limits, features, strict=True)
        }
        columns = {
            fusion.COLUMNS[model.name]: fusion.fused(by_limit[model.gain_limit], model)
            for model in self._models
        }
        for limit, parts in by_limit.items():
            ending = "_neg" if limit == 1 else ""
            columns |= {
                name if name == "motion2" else name + ending: values
                for name, values in parts.items()
            }
        return Scores(
            {name: values.tolist() for name, values in columns.items()}, self._flags(count)
        )

    def _flags(self, count: int) -> tuple[str, ...]:
        height, width = self._size
        flags = []
        if min(height, width) < SMALL:
            flags.append(
                f"frames of {width}×{height} are small: below {SMALL} pixels scores say little"
            )
        if self.still or count == 1:
            flags.append(
                "motion 0: stills and single frames have no motion; do not compare with clips"
            )
        return tuple(flags)

    def _check(self, ref: Tensor, dis: Tensor) -> None:
        kind = torch.uint8 if self.bits == 8 else torch.uint16
        if self.bits not in _BITS:
            raise FramesUnusable(f"bits is {self.bits}, but must be one of {_BITS}")
        if ref.ndim != 4 or ref.shape[1] != 1 or ref.shape != dis.shape:
            shapes = f"reference {tuple(ref.shape)}, distorted {tuple(dis.shape)}"
            raise FramesUnusable(f"{shapes}; both must be luma (N, 1, H, W) of one size")
        if ref.dtype != kind or dis.dtype != kind or ref.device != dis.device:
            raise FramesUnusable(
                f"reference is {ref.dtype} on {ref.device}, distorted {dis.dtype} on {dis.device}; "
                f"with {self.bits} bits both must be {kind} on one device"
            )
        height, width = ref.shape[2:]
        if min(height, width) < SMALLEST:
            raise FramesUnusable(f"VMAF needs {SMALLEST} pixels a side, got {width}×{height}")
        if self._size and (height, width) != self._size:
            was = "×".join(str(side) for side in reversed(self._size))
            raise FramesUnusable(
                f"the clip was {was} so far, and these frames are {width}×{height}"
            )
        if self.bits > 8 and len(ref):
            most = max(int(z.to(torch.int32).max()) for z in (ref, dis))
            if most >= 1 << self.bits:
                raise FramesUnusable(f"a pixel is {most}, which {self.bits} bits cannot hold")
        self._size = (height, width)
