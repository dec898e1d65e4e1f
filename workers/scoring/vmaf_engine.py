"""Who computes VMAF, and what may be asked of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import torch

from workers.scoring import ffmpeg_engine, torch_engine

if TYPE_CHECKING:
    from workers.data.media import Plane

EngineName = Literal["torch", "ffmpeg"]

#: Per frame: both scores and the features of the model without a limit on enhancement.
COLUMNS = (
    *("vmaf", "vmaf_neg", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3", "adm2"),
    "motion2",
)
MODELS = {"vmaf": "vmaf_v0.6.1", "vmaf_neg": "vmaf_v0.6.1neg"}


class VmafSession(Protocol):
    """One clip on its way through an engine, or stills of one size."""

    def add(self, reference: Plane, distorted: Plane) -> None:
        """Take the next frame: luma code values (H, W), uint8, or uint16 for more than 8 bits."""

    def finish(self) -> list[dict[str, float]]:
        """Return the COLUMNS of every frame, in order; the session is over."""

    def close(self) -> None:
        """Give up what the session holds; harmless after `finish`."""


class VmafEngine(Protocol):
    """Starts sessions; two engines give the same scores within 0.01."""

    name: EngineName
    version: str

    def open(self, *, width: int, height: int, bits: int, still: bool) -> VmafSession:
        """Begin a clip; with `still` each frame is scored on its own, with motion 0."""


def choose(wanted: Literal["auto", "torch", "ffmpeg"] = "auto") -> VmafEngine:
    """Return the engine: torch on a GPU, ffmpeg on a CPU where it is installed, else torch.

    Raises MetricUnavailable, with the remedy, if ffmpeg is wanted and not here.
    """
    gpu = torch.cuda.is_available()
    if wanted == "ffmpeg" or (wanted == "auto" and not gpu and ffmpeg_engine.available()):
        return ffmpeg_engine.FfmpegEngine()
    return torch_engine.TorchEngine("cuda" if gpu else "cpu")
