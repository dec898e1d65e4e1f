"""What in the scores should make a reader careful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from workers.metrics.vmaf import SMALL
from workers.scoring.table import Row, column

ENHANCEMENT = 3.0  #: VMAF - NEG beyond which a frame was enhanced rather than restored
#: How far each must move against the baseline before a hack is suspected; less is noise.
MARGINS = {"vmaf_neg": 0.1, "psnr_y": -0.01, "ssim_y": -0.0005}

RULES = {
    "enhancement_gain": f"VMAF - NEG > {ENHANCEMENT:g} in a frame",
    "suspected_hack": "against the baseline, mean NEG rises by more than 0.1 while mean PSNR-Y falls "
    "by more than 0.01 dB and mean SSIM-Y by more than 0.0005; not judged without --baseline",
    "no_motion": "frames that were scored as stills, and clips of one frame: motion2 is 0",
    "small_frames": f"sides below {SMALL} pixels, where VMAF says little",
    "matrices_differ": "the two files declare different luma matrices",
}


class Flag(TypedDict):
    """`frames` are indices of the frames that are meant; empty: all of them, or none in particular."""

    flag: str
    message: str
    frames: list[int]


def enhancement_gain(rows: Sequence[Row]) -> list[Flag]:
    """Flag sharpness and contrast beyond the original, which VMAF rewards and NEG does not."""
    gaps = [
        vmaf - neg for vmaf, neg in zip(column(rows, "vmaf"), column(rows, "vmaf_neg"), strict=True)
    ]
    frames = [index for index, gap in enumerate(gaps) if gap > ENHANCEMENT]
    if not frames:
        return []
    mean = sum(gaps) / len(gaps)
    message = (
        f"VMAF exceeds NEG by more than {ENHANCEMENT:g} in {len(frames)} of {_frames(len(gaps))} "
        f"({mean:+.2f} in the mean): sharpened or contrasted beyond the original; rank by vmaf_neg"
    )
    return [{"flag": "enhancement_gain", "message": message, "frames": frames}]


def suspected_hack(rows: Sequence[Row], baseline: Sequence[Row], name: str) -> list[Flag]:
    """Flag a NEG that was bought with fidelity: up against the baseline, PSNR and SSIM down."""
    moved = {
        metric: [
            mine - theirs
            for mine, theirs in zip(column(rows, metric), column(baseline, metric), strict=True)
        ]
        for metric in MARGINS
    }
    means = {metric: sum(values) / len(values) for metric, values in moved.items()}
    if not _is_hack(means):
        return []
    frames = [
        index
        for index in range(len(rows))
        if _is_hack({metric: values[index] for metric, values in moved.items()})
    ]
    message = (
        f"against {name}, NEG is {means['vmaf_neg']:+.2f} while PSNR-Y is {means['psnr_y']:+.2f} dB "
        f"and SSIM-Y {means['ssim_y']:+.4f}: the score may have been optimised, not the picture; look"
    )
    return [{"flag": "suspected_hack", "message": message, "frames": frames}]


def no_motion(stills: Sequence[int], frames: int) -> list[Flag]:
    """Flag scores without motion; `stills` are the indices of the frames that had none."""
    if not stills:
        return []
    which = "all" if len(stills) == frames else f"{len(stills)} of {frames}"
    message = (
        f"{which} frames are stills, or clips of one frame, and have motion 0: equal ones score 97.43, "
        "so do not compare with scores of video"
    )
    return [{"flag": "no_motion", "message": message, "frames": list(stills)}]


def small_frames(sizes: set[tuple[int, int]]) -> list[Flag]:
    """Flag frames that are mostly border to VMAF's coarsest bands."""
    small = [size for size in sorted(sizes) if min(size) < SMALL]
    if not small:
        return []
    shown = ", ".join(f"{width}×{height}" for width, height in small[:3])
    message = f"frames of {shown} are small: below {SMALL} pixels a side VMAF says little"
    return [{"flag": "small_frames", "message": message, "frames": []}]


def matrices_differ() -> Flag:
    """Flag two files that say their luma was made differently."""
    message = (
        "the two files declare different luma matrices, so equal pictures differ in luma; make both "
        "with one, or correct the declaration that is wrong"
    )
    return {"flag": "matrices_differ", "message": message, "frames": []}


def _is_hack(moved: dict[str, float]) -> bool:
    return all(
        moved[metric] > margin if margin > 0 else moved[metric] < margin
        for metric, margin in MARGINS.items()
    )


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count != 1 else ''}"
