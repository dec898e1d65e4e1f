"""VMAF, VMAF-NEG and their parts, of stills: exact in torch, or by libvmaf inside ffmpeg.

Li et al., "Toward A Practical Perceptual Video Quality Metric", Netflix 2016; NEG: Li, "Toward a
Better Quality Metric for the Video Community", Netflix 2020. Formulas and models are Netflix's
(libvmaf, BSD-2-Clause-Patent), the code is our own.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

import torch

from service.contract.vocabulary import MetricInfo
from workers.metrics._registry import register
from workers.metrics.vmaf import ffmpeg
from workers.metrics.vmaf.clip import Clip
from workers.metrics.vmaf.ffmpeg import FfmpegClip
from workers.metrics.vmaf.frames import SMALL, SMALLEST, FramesUnusable, Scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from workers.metrics._still import Still

__all__ = [
    "SMALL",
    "SMALLEST",
    "Clip",
    "Engine",
    "FfmpegClip",
    "FramesUnusable",
    "Scores",
    "clip_scores",
    "engine_for",
    "luma_scores",
]

#: Both give the same scores within 0.0001; auto: torch on a GPU, ffmpeg on a CPU where installed.
Engine = Literal["auto", "torch", "ffmpeg"]

_PIXELS_AT_ONCE = 2**24  #: of stills in one run of ffmpeg: 100 MB of temporary files

_WHERE = (
    "on luma (Y of BT.601 studio swing, rounded to 8 bits), whole image, 8-bit SR. A still has no "
    "motion, so motion2 is 0"
)
_DEFINITION = (
    f"libvmaf {{model}} {_WHERE} and equal images score 97.43: do not compare with scores of video. "
    f"Sides from {SMALLEST} pixels."
)
_LUMA = _WHERE.partition(", 8-bit SR")[0]
_PARTS = {
    "adm2": "Detail loss (DLM): contrast of wavelet detail that SR restores",
    **{
        f"vif_scale{scale}": f"Visual information fidelity at 1/{2**scale} of the size"
        for scale in range(4)
    },
}


def _part(name: str, what: str) -> MetricInfo:
    return MetricInfo(
        name=name,
        summary=f"{what}, a part of VMAF v0.6.1 as libvmaf computes it, {_LUMA}. Equal images: 1; "
        "enhancement can exceed it.",
        direction="maximize",
        side="distortion",
        cost="medium",
    )


@register(
    MetricInfo(
        name="vmaf",
        summary=_DEFINITION.format(model="vmaf_v0.6.1")
        + " Rewards sharpening beyond the original; rank by vmaf_neg.",
        direction="maximize",
        side="distortion",
        cost="medium",
    ),
    MetricInfo(
        name="vmaf_neg",
        summary=_DEFINITION.format(model="vmaf_v0.6.1neg") + " Enhancement gain is not rewarded.",
        direction="maximize",
        side="distortion",
        cost="medium",
    ),
)
def vmaf(stills: Sequence[Still]) -> dict[str, list[float]]:
    """Both scores of every still, 0..100."""
    return _each(stills, ("vmaf", "vmaf_neg"), "auto")


@register(
    *(_part(name, what) for name, what in _PARTS.items()),
    MetricInfo(
        name="motion2",
        summary=f"Motion of the reference as VMAF sees it, {_LUMA}; 0 for a still. It says nothing "
        "about quality, and is here so that every part of a VMAF has a column.",
        direction="maximize",
        side="distortion",
        cost="medium",
    ),
)
def vmaf_parts(stills: Sequence[Still]) -> dict[str, list[float]]:
    """The features VMAF is fused from, of every still."""
    return _each(stills, (*_PARTS, "motion2"), "torch")


def _each(
    stills: Sequence[Still], names: tuple[str, ...], engine: Engine
) -> dict[str, list[float]]:
    """One run for every clip and for all stills of one size; results in the order of the stills."""
    runs: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for k, still in enumerate(stills):
        runs[still.clip, tuple(still.hr_luma.shape)].append(k)
    scores: dict[int, dict[str, float]] = {}
    for (clip, _), positions in runs.items():
        sr = [_code_values(stills[k].sr_luma) for k in positions]
        hr = [_code_values(stills[k].hr_luma) for k in positions]
        found = luma_scores(sr, hr, engine=engine, still=not clip)
        scores.update(zip(positions, found, strict=True))
    return {name: [scores[k][name] for k in range(len(stills))] for name in names}


def luma_scores(
    sr: Sequence[Tensor],
    hr: Sequence[Tensor],
    *,
    engine: Engine = "auto",
    still: bool = True,
) -> list[dict[str, float]]:
    """Return {"vmaf", "vmaf_neg", ...} of each pair of uint8 luma (H, W), all of one size.

    Each is a still of its own, or (`still` false) the next frame of one clip, with its motion.

    Raises ImageUnusable below 33 pixels a side, and with engine ffmpeg MetricUnavailable where that
    does not run.
    """
    pieces = ((y[None, None], x[None, None]) for x, y in zip(sr, hr, strict=True))
    if not still:
        return clip_scores(pieces, engine=engine).rows()
    # Stills need not be one run, whose files would grow with their number.
    at_once = max(1, _PIXELS_AT_ONCE // hr[0].numel()) if hr else 1
    scores: list[dict[str, float]] = []
    while some := list(islice(pieces, at_once)):
        scores += clip_scores(some, still=True, engine=engine).rows()
    return scores


def clip_scores(
    pieces: Iterable[tuple[Tensor, Tensor]],
    *,
    bits: int = 8,
    models: Sequence[str] = ("vmaf_v0.6.1", "vmaf_v0.6.1neg"),
    still: bool = False,
    engine: Engine = "auto",
) -> Scores:
    """Return the scores of a clip, whose frames come in pieces (reference, distorted), as `Clip` takes.

    Raises FramesUnusable, and with engine ffmpeg MetricUnavailable where that does not run.
    """
    rest = iter(pieces)
    first = next(rest, None)
    if first is None:
        return Scores({}, ())
    kind = FfmpegClip if engine_for(first[0], engine) == "ffmpeg" else Clip
    clip = kind(bits=bits, models=models, still=still)
    try:
        for ref, dis in chain([first], rest):
            clip.add(ref, dis)
        return clip.scores()
    finally:
        clip.close()


def engine_for(frames: Tensor, engine: Engine = "auto") -> Literal["torch", "ffmpeg"]:
    """Return the engine that scores frames which lie where these do."""
    if engine != "auto":
        return engine
    return "ffmpeg" if frames.device.type == "cpu" and ffmpeg.installed() else "torch"


def _code_values(luma: Tensor) -> Tensor:
    return luma.round().to(torch.uint8)
