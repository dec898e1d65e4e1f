"""VMAF of a clip that arrives piece by piece, with motion across the pieces' borders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from losses._vmaf import Model
from workers.metrics.vmaf import fusion, motion
from workers.metrics.vmaf.adm import adm2
from workers.metrics.vmaf.frames import Scores, check, flags
from workers.metrics.vmaf.vif import SCALES, vif

#: Pixels worked on at a time: what stays in a CPU's cache, and what keeps a GPU busy within 2 GB.
_PIXELS = {"cpu": 2**17, "cuda": 2**22}


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
        self._size: tuple[int, int] | None = None
        self._last: Tensor | None = None
        self._features: list[Tensor] = []
        self._differences: list[Tensor] = []

    def add(self, ref: Tensor, dis: Tensor) -> None:
        """Take the next frames; raises FramesUnusable and keeps nothing of them."""
        self._size = check(ref, dis, bits=self.bits, before=self._size)
        pixels = self._pixels or _PIXELS.get(ref.device.type, 2**17)
        height, width = self._size
        some = max(1, pixels // (height * width))
        for start in range(0, len(ref), some):
            frames = slice(start, start + some)
            self._add(ref[frames, 0].float(), dis[frames, 0].float(), pixels)

    def close(self) -> None:
        """Nothing to give up here; the ffmpeg engine has a process."""

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
        if self._size is None or not self._features:
            return Scores({}, ())
        features = torch.cat(self._features, dim=1)
        count = features.shape[1]
        if self.still:
            moved = features.new_zeros(count)
        else:
            moved = motion.motion2(torch.cat(self._differences))
        by_limit = {
            limit: {f"vif_scale{scale}": parts[:, 1 + scale] for scale in range(SCALES)}
            | {"adm2": parts[:, 0], "motion2": moved}
            for limit, parts in zip(self._limits, features, strict=True)
        }
        columns = {
            fusion.COLUMNS[model.name]: fusion.fused(by_limit[model.gain_limit], model)
            for model in self._models
        }
        for limit, parts in by_limit.items():
            columns |= {fusion.column(name, limit): values for name, values in parts.items()}
        return Scores(
            {name: values.tolist() for name, values in columns.items()},
            flags(self._size, count, still=self.still),
        )
