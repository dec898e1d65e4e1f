"""front.png: every trial of a study, the front joined, baselines and the chosen point named."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.cli import tables
from service.contract.trial import Best, Front, TrialView
from service.contract.vocabulary import MetricInfo, Vocabulary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_GREY, _BLUE, _ORANGE, _GREEN = "#9aa5b1", "#1f5fa8", "#d9730d", "#2e8b57"
_MARKERS = "sD^vP*X"
#: Where a label may go around its point, in points; the first place without a collision wins.
_PLACES = [
    (dx * reach, dy * reach)
    for reach in (1.0, 1.9, 3.0, 4.4)
    for dx, dy in ((9, 9), (9, -16), (-9, 9), (-9, -16), (12, -3), (-12, -3), (0, 14), (0, -20))
]


def draw_front(front: Front, best: Best, words: Vocabulary, path: Path) -> Path:
    """Write the picture of a front, 1200 × 800 pixels."""
    front_figure(front, best, words).savefig(path)
    return path


def front_figure(front: Front, best: Best, words: Vocabulary) -> Figure:
    """The first two objectives of all complete trials."""
    figure = Figure(figsize=(12, 8), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.075, 0.085, 0.9, 0.83))
    across, up = _axis(front, 0), _axis(front, 1)
    _points(axes, front, across, up)
    labels = _named(axes, front, best, across, up)
    axes.set_title(
        f"{len(front.members)} of {len(front.members) + len(front.dominated)} trials are on the front",
        loc="left",
        fontsize=15,
    )
    axes.set_xlabel(_axis_label(words.metrics[across], vertical=False), fontsize=13)
    axes.set_ylabel(_axis_label(words.metrics[up], vertical=True), fontsize=13)
    axes.tick_params(labelsize=11)
    axes.grid(color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.12)
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=11)
    line = sorted(_at(trial, across, up) for trial in front.members)
    points = [_at(trial, across, up) for trial in front.dominated]
    _place(figure, axes, labels, [*points, *_along(line)])
    return figure


def _points(axes: Axes, front: Front, across: str, up: str) -> None:
    if front.dominated:
        xs, ys = zip(*(_at(trial, across, up) for trial in front.dominated), strict=True)
        axes.scatter(xs, ys, s=55, color=_GREY, label="dominated trials", zorder=2)
    if front.members:
        xs, ys = zip(*sorted(_at(trial, across, up) for trial in front.members), strict=True)
        axes.plot(xs, ys, "-", color=_BLUE, linewidth=1.5, zorder=3)
        axes.scatter(xs, ys, s=70, color=_BLUE, label="front", zorder=4)


def _named(
    axes: Axes, front: Front, best: Best, across: str, up: str
) -> list[tuple[str, tuple[float, float], str]]:
    """Mark what people look for; return the labels still to be placed."""
    labels = []
    for marker, trial in zip(_MARKERS, best.baselines, strict=False):
        x, y = _at(trial, across, up)
        name = "plain L1" if tables.is_baseline(trial) else tables.label(trial.origin)
        axes.scatter(
            [x], [y], s=130, marker=marker, color=_ORANGE, edgecolor="white", zorder=5,
            label=name if tables.is_baseline(trial) else f"{name}'s weights",
        )  # fmt: skip
        labels.append((name, (x, y), _ORANGE))
    x, y = _at(best.trial, across, up)
    axes.scatter(
        [x], [y], s=330, marker="*", color=_GREEN, edgecolor="white", zorder=6, label="chosen"
    )
    labels.append((f"chosen: trial {best.trial.number}", (x, y), _GREEN))
    taken = {best.trial.uid, *(trial.uid for trial in best.baselines)}
    labels += [
        (f"trial {trial.number}", _at(trial, across, up), _BLUE)
        for trial in front.members
        if trial.uid not in taken
    ]
    return labels


def _place(
    figure: Figure,
    axes: Axes,
    labels: Sequence[tuple[str, tuple[float, float], str]],
    points: Sequence[tuple[float, float]],
) -> None:
    """Write each label where it touches no other, no point and not the legend."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    legend = axes.get_legend()
    taken: list[Bbox] = [legend.get_window_extent(renderer)] if legend else []
    dots = axes.transData.transform(points)
    inside = axes.get_window_extent(renderer)
    for text, at, color in labels:
        for place in _PLACES:
            note = axes.annotate(
                text, at, xytext=place, textcoords="offset points", fontsize=11.5, color=color,
                ha="left" if place[0] > 0 else "right" if place[0] < 0 else "center", zorder=7,
            )  # fmt: skip
            box = note.get_window_extent(renderer).padded(2)
            fits = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
            if fits and not box.count_overlaps(taken) and not box.count_contains(dots):
                taken.append(box)
                break
            note.remove()


def _along(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points so close together on a line that no label fits between them."""
    parts = [i / 200 for i in range(201)]
    return [
        (x0 + t * (x1 - x0), y0 + t * (y1 - y0))
        for (x0, y0), (x1, y1) in pairwise(line)
        for t in parts
    ] or list(line)


def _axis(front: Front, index: int) -> str:
    return front.objectives[min(index, len(front.objectives) - 1)]


def _at(trial: TrialView, across: str, up: str) -> tuple[float, float]:
    return trial.metrics[across], trial.metrics[up]


def _axis_label(metric: MetricInfo, *, vertical: bool) -> str:
    arrow = {True: ("→", "↑"), False: ("←", "↓")}[metric.direction == "maximize"][vertical]
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.name}{unit}   ({arrow} better, {metric.side})"
