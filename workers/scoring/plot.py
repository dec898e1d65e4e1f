"""A report as one picture: a curve per metric, and the worst frames beside their originals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.metrics import ImageUnusable
from workers.scoring.definition import direction, unit
from workers.scoring.frames import FramePair, frame_pairs
from workers.scoring.table import column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workers.scoring.report import Report

_WORST = 4  #: frames shown
_NAME = 44  #: characters of a name above a picture
_FAINTEST = 8.0  #: code values that are drawn bright at most, so that rounding stays dark
_NAMED = 24  #: frames, up to which their names fit below the curves
_COLOURS = ("#1f5fa8", "#d9730d", "#2e8b57", "#8a4fbf", "#b0413e", "#5f6b78")
#: Metrics that share a panel, since they share a scale.
_PANELS = (
    ("vmaf", "vmaf_neg"),
    ("vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3", "adm2"),
    ("psnr_y", "psnr_rgb"),
    ("ssim_y", "ssim_rgb", "ms_ssim"),
)
#: By which frames are the worst: the first of these that was computed, else the first metric.
_JUDGES = ("vmaf_neg", "vmaf", "psnr_y", "ssim_y")


def draw(report: Report, path: Path) -> None:
    """Write the picture as PNG; 1400 pixels wide."""
    figure(report).savefig(path, format="png")


def figure(report: Report) -> Figure:
    """Curves above, the worst frames below: original, distorted, and their difference in luma."""
    panels = _panels(list(report.pooled))
    judge = next((name for name in _JUDGES if name in report.pooled), next(iter(report.pooled)))
    worst = worst_frames(report, judge)
    frames = _seen_again(report, worst)
    tallest = max(frame.reference.size[1] / frame.reference.size[0] for frame in frames)
    heights = [1.2 + 1.5 * len(panels), 0.6 + 3 * (3.4 * min(tallest, 1.5) + 0.3)]
    drawn = Figure(figsize=(14, sum(heights)), dpi=100, facecolor="white")
    FigureCanvasAgg(drawn)
    top, bottom = drawn.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    curves = top.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    _draw_curves(list(curves), panels, report, worst)
    top.subplots_adjust(
        left=0.06, right=0.985, top=1 - 0.75 / heights[0], bottom=0.6 / heights[0], hspace=0.42
    )
    sides = (report.definition[side]["path"] for side in ("distorted", "reference"))
    top.suptitle(" against ".join(map(_short, sides)), x=0.06, ha="left", fontsize=14)
    cells = bottom.subplots(3, _WORST, squeeze=False)
    for column_of_cells, frame in zip_longest(cells.T, frames):
        _draw_frame(list(column_of_cells), frame, report, judge)
    bottom.subplots_adjust(
        left=0.01, right=0.99, top=1 - 0.75 / heights[1], bottom=0.01, hspace=0.1, wspace=0.03
    )
    bottom.suptitle(f"The worst frames by {judge}", x=0.01, ha="left", fontsize=14)
    return drawn


def worst_frames(report: Report, judge: str) -> list[int]:
    """Indices of the worst frames, worst first, with some distance between them in a long clip."""
    values = np.array(column(report.frames, judge))
    order = np.argsort(-values if direction(judge) == "minimize" else values, kind="stable")
    distance = len(values) // (5 * _WORST)
    chosen: list[int] = []
    for index in map(int, order):
        if all(abs(index - other) > distance for other in chosen):
            chosen.append(index)
        if len(chosen) == _WORST:
            break
    return chosen


def _panels(names: Sequence[str]) -> list[list[str]]:
    panels = [[name for name in panel if name in names] for panel in _PANELS]
    placed = {name for panel in _PANELS for name in panel}
    return [panel for panel in panels if panel] + [[n] for n in names if n not in placed]


def _draw_curves(
    axes: Sequence[Axes], panels: Sequence[Sequence[str]], report: Report, worst: Sequence[int]
) -> None:
    count = len(report.frames)
    stills = any(pair.still for pair in report.pairs)
    few = count <= _NAMED
    for axis, panel in zip(axes, panels, strict=True):
        for name, colour in zip(panel, _COLOURS, strict=False):
            axis.plot(
                range(count),
                column(report.frames, name),
                color=colour,
                linewidth=0 if stills else 1.4,  # nothing lies between two photographs
                marker="o" if few or stills else "",
                markersize=6 if few else 3,
                label=f"{name}, mean {report.pooled[name]['mean']:.4g} {unit(name)}".rstrip(),
            )
        if not few:
            for index in worst:
                axis.axvline(index, color="#c9ced6", linewidth=1, zorder=0)
        axis.grid(color="#eef0f3", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.03 if stills else 0.01, y=0.12)
        axis.legend(
            loc="lower left", bbox_to_anchor=(0, 0.97), ncols=len(panel), frameon=False,
            fontsize=10, borderaxespad=0, handlelength=1.2, columnspacing=1.6,
        )  # fmt: skip
    if few and (stills or len(report.pairs) > 1):
        names = [_tail(str(line["name"])) for line in report.frames]
        axes[-1].set_xticks(range(count), names, rotation=15, ha="right", fontsize=9)
    else:
        axes[-1].set_xlabel("frame" if few else "frame (grey lines: the worst, below)")


def _seen_again(report: Report, wanted: Sequence[int]) -> list[FramePair]:
    """Decode once more what is shown: no more than these frames are ever held."""
    found: dict[int, FramePair] = {}
    start = 0
    for pair in report.pairs:
        count = sum(_belongs(str(line["name"]), pair.name) for line in report.frames[start:])
        count = 1 if pair.still else len(pair.reference) if len(pair.reference) > 1 else count
        inside = [index - start for index in wanted if start <= index < start + count]
        if inside:
            frames = islice(frame_pairs(pair, report.reading), max(inside) + 1)
            found |= {start + frame.index: frame for frame in frames if frame.index in inside}
        start += count
    return [found[index] for index in wanted]


def _belongs(frame: str, clip: str) -> bool:
    return frame.rpartition("#")[0] == clip


def _draw_frame(cells: Sequence[Axes], frame: FramePair | None, report: Report, judge: str) -> None:
    for cell in cells:
        cell.set_axis_off()
        cell.set_anchor("N")
    if frame is None:
        return
    error = np.abs(frame.sr_luma.numpy() - frame.hr_luma.numpy())
    try:
        both = [_shown(frame.hr.numpy()), _shown(frame.sr.numpy())]
    except ImageUnusable:  # luma only
        both = [frame.hr_luma.numpy() / 255, frame.sr_luma.numpy() / 255]
    for cell, picture in zip(cells, both, strict=False):
        cell.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
    # A few pixels must not darken all the others.
    brightest = max(_FAINTEST, float(np.quantile(error, 0.999)))
    cells[2].imshow(error, cmap="magma", vmin=0, vmax=brightest)
    line = next(line for line in report.frames if line["name"] == frame.name)
    score = f"{judge} {line[judge]:.4g}"
    titles = (_tail(frame.name), f"distorted: {score}", f"luma differs by up to {error.max():.0f}")
    for cell, title in zip(cells, titles, strict=True):
        cell.set_title(title, fontsize=10, loc="left", pad=3)


def _tail(name: str) -> str:
    """The end of a long name, which is where frames differ."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _shown(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return rgb.transpose(1, 2, 0) / 255


def _short(name: str) -> str:
    return Path(name).name or name
