"""What every number of a report means: luma, range, model, motion, border, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workers import metrics
from workers.scoring import flags
from workers.scoring.table import POOLING
from workers.scoring.vmaf_engine import COLUMNS, MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from workers.data.media import Picture
    from workers.scoring.frames import Reading, Seen
    from workers.scoring.pairing import Pair
    from workers.scoring.vmaf_engine import VmafEngine

_VMAF = {
    "vmaf": "vmaf_v0.6.1, 0..100; rewards sharpening beyond the original, rank by vmaf_neg",
    "vmaf_neg": "vmaf_v0.6.1neg, 0..100: VMAF without reward for enhancement",
    "adm2": "detail that survives (DLM), part of vmaf; 1: all of it",
    "motion2": "motion of the reference, part of vmaf; says nothing about quality",
} | {
    f"vif_scale{scale}": f"visual information fidelity at 1/{2**scale} of the size, part of vmaf"
    for scale in range(4)
}


def definition(
    names: Sequence[str],
    *,
    reference: Path,
    distorted: Path,
    pairs: Sequence[Pair],
    seen: Seen,
    reading: Reading,
    engine: VmafEngine | None,
    baseline: str | None,
) -> dict[str, Any]:
    """Return the `definition` of a report; plain values of JSON."""
    return {
        "reference": _described(reference, seen.reference),
        "distorted": _described(distorted, seen.distorted),
        "baseline": baseline,
        "luma": _luma(seen, reading),
        "rgb": _rgb(seen, reading),
        "border": reading.scale or 0,
        "motion": _motion(pairs),
        "vmaf": None
        if engine is None
        else {
            "engine": engine.name,
            "version": engine.version,
            "models": {name: model for name, model in MODELS.items() if name in names},
            "score_transform": False,
            "clipped_to": [0, 100],
        },
        "pooling": POOLING,
        "metrics": {name: _metric(name) for name in names},
        "flags": flags.RULES,
    }


def direction(name: str) -> str:
    """Return `maximize`, `minimize`, or `` for a number that is neither good nor bad."""
    if name in COLUMNS:
        return "" if name == "motion2" else "maximize"
    return metrics.SPECS[name].direction


def unit(name: str) -> str:
    """Return the unit of a metric, or nothing."""
    return "" if name in COLUMNS else metrics.SPECS[name].unit


def _metric(name: str) -> dict[str, str]:
    summary = _VMAF[name] if name in COLUMNS else metrics.SPECS[name].summary
    return {"definition": summary, "direction": direction(name), "unit": unit(name)}


def _described(path: Path, picture: Picture | None) -> dict[str, Any]:
    """The first frame speaks for all; images of a folder may differ in size."""
    if picture is None:
        return {"path": str(path)}
    return {
        "path": str(path),
        "size": list(picture.size),
        "pixel_format": picture.pixel_format,
        "bits": picture.bits,
        "declared_matrix": picture.matrix,
        "declared_range": {None: None, True: "full", False: "studio"}[picture.full_range],
    }


def _luma(seen: Seen, reading: Reading) -> str:
    """The sentence that goes before what a metric's own definition says of luma."""
    picture, other = seen.reference, seen.distorted
    if picture is None or other is None:
        return ""
    if picture.model == "rgb":
        name = reading.matrix_of(picture, other).upper().replace("BT", "BT.")
        return f"Y of {name} studio swing (16..235) of 8-bit RGB; rounded to 8 bits for VMAF only"
    stored = (
        "as stored in the files, without conversion; metrics that name another luma take this one"
    )
    if picture.bits == 8:
        return stored
    top = 2**picture.bits - 1
    return f"{stored}; {picture.bits} bits, peak {top}: values times 255/{top} for metrics but VMAF"


def _rgb(seen: Seen, reading: Reading) -> str:
    picture, other = seen.reference, seen.distorted
    if picture is None or other is None:
        return ""
    if picture.model == "rgb":
        return "as stored, 8 bits"
    if "grey" in (picture.model, other.model):
        return "none: luma only"
    name = reading.matrix_of(picture, other)
    declared = name in (picture.matrix, other.matrix)
    how = "given" if reading.matrix else "declared" if declared else "assumed from the height"
    swing = "full range" if picture.full_range else "studio swing"
    return (
        f"from YUV by {name.upper().replace('BT', 'BT.')} ({how}), {swing}, chroma enlarged "
        "bilinearly, rounded to 8 bits"
    )


def _motion(pairs: Sequence[Pair]) -> str:
    clips = sum(not pair.still for pair in pairs)
    if not clips:
        return "0: stills; do not compare with VMAF of video"
    of_clips = "of neighbouring frames of the reference; frames are paired by number, not by time"
    return of_clips if clips == len(pairs) else f"{of_clips}; 0 for stills among them"
