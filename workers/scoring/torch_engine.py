"""VMAF by srtune's own exact integers in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workers.metrics.vmaf import Clip

if TYPE_CHECKING:
    from torch import Tensor

    from workers.data.media import Plane
    from workers.scoring.vmaf_engine import EngineName

_PIXELS = {"cpu": 2**21, "cuda": 2**24}  #: of frames that are handed over together


class TorchEngine:
    """Computes on one device."""

    name: EngineName = "torch"

    def __init__(self, device: str) -> None:
        self._device = device
        self.version = f"srtune's exact integers, torch {torch.__version__} on {device}"

    def open(self, *, width: int, height: int, bits: int, still: bool) -> TorchSession:
        """Begin a clip."""
        clip = Clip(bits=bits, still=still)
        together = max(1, _PIXELS[self._device] // (width * height))
        return TorchSession(clip, self._device, together)


class TorchSession:
    """Frames wait until there are enough for one piece of work."""

    def __init__(self, clip: Clip, device: str, together: int) -> None:
        self._clip, self._device, self._together = clip, device, together
        self._waiting: list[tuple[Plane, Plane]] = []

    def add(self, reference: Plane, distorted: Plane) -> None:
        self._waiting.append((reference, distorted))
        if len(self._waiting) == self._together:
            self._work()

    def finish(self) -> list[dict[str, float]]:
        self._work()
        columns = self._clip.scores().frames
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def close(self) -> None:
        self._waiting.clear()

    def _work(self) -> None:
        if self._waiting:
            reference, distorted = zip(*self._waiting, strict=True)
            self._clip.add(self._batch(reference), self._batch(distorted))
            self._waiting.clear()

    def _batch(self, planes: tuple[Plane, ...]) -> Tensor:
        return torch.from_numpy(np.stack(planes)[:, None]).to(self._device)
