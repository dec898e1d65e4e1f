"""Who computes VMAF, fed frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from workers.metrics.vmaf import Clip, FfmpegClip, ffmpeg

if TYPE_CHECKING:
    from torch import Tensor

    from workers.data.media import Plane

EngineName = Literal["torch", "ffmpeg"]

#: Per frame: both scores and the features of the model without a limit on enhancement.
COLUMNS = (
    *("vmaf", "vmaf_neg", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3", "adm2"),
    "motion2",
)
MODELS = {"vmaf": "vmaf_v0.6.1", "vmaf_neg": "vmaf_v0.6.1neg"}

_PIXELS = {"cpu": 2**21, "cuda": 2**24}  #: of frames that are handed over together


class VmafEngine:
    """Begins clips; both engines give the same scores within 0.01."""

    def __init__(self, name: EngineName, device: str = "cpu") -> None:
        self.name: EngineName = name
        self._device = device
        exact = f"srtune's exact integers, torch {torch.__version__} on {device}"
        self.version = exact if name == "torch" else ffmpeg.version()

    def open(self, *, width: int, height: int, bits: int, still: bool) -> VmafSession:
        """Begin a clip; with `still` each frame is scored on its own, with motion 0."""
        kind = Clip if self.name == "torch" else FfmpegClip
        together = max(1, _PIXELS[self._device] // (width * height))
        return VmafSession(kind(bits=bits, still=still), self._device, together)


class VmafSession:
    """One clip, or stills of one size; frames wait until there are enough for one piece of work."""

    def __init__(self, clip: Clip | FfmpegClip, device: str, together: int) -> None:
        self._clip, self._device, self._together = clip, device, together
        self._waiting: list[tuple[Plane, Plane]] = []

    def add(self, reference: Plane, distorted: Plane) -> None:
        """Take the next frame: luma code values (H, W), uint8, or uint16 for more than 8 bits."""
        self._waiting.append((reference, distorted))
        if len(self._waiting) == self._together:
            self._work()

    def finish(self) -> list[dict[str, float]]:
        """Return COLUMNS and more of every frame, in order; the session is over."""
        self._work()
        return self._clip.scores().rows()

    def close(self) -> None:
        """Give up what the session holds; harmless after `finish`."""
        self._waiting.clear()
        self._clip.close()

    def _work(self) -> None:
        if self._waiting:
            reference, distorted = zip(*self._waiting, strict=True)
            self._clip.add(self._batch(reference), self._batch(distorted))
            self._waiting.clear()

    def _batch(self, planes: tuple[Plane, ...]) -> Tensor:
        return torch.from_numpy(np.stack(planes)[:, None]).to(self._device)


def choose(wanted: Literal["auto", "torch", "ffmpeg"] = "auto") -> VmafEngine:
    """Return the engine: torch on a GPU, ffmpeg on a CPU where it is installed, else torch.

    Raises MetricUnavailable, with the remedy, if ffmpeg is wanted and not here.
    """
    gpu = torch.cuda.is_available()
    if wanted == "ffmpeg" or (wanted == "auto" and not gpu and ffmpeg.installed()):
        ffmpeg.program()
        return VmafEngine("ffmpeg")
    return VmafEngine("torch", "cuda" if gpu else "cpu")
