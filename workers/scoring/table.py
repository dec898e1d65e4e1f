"""Scores frame by frame, and what one number for all frames is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

#: One frame: index, name, then its scores.
Row: TypeAlias = dict[str, int | str | float]

POOLING = (
    "mean, min and max over frames; harmonic_mean is n / Σ 1/(score + 1) - 1, as in libvmaf, and "
    "null where a score is -1 or less"
)
_DIGITS = 6  #: decimals, as libvmaf prints


def row(index: int, name: str, scores: Mapping[str, float]) -> Row:
    """Return one line of the table, rounded to what libvmaf prints."""
    rounded = {metric: round(value, _DIGITS) for metric, value in scores.items()}
    return {"index": index, "name": name, **rounded}


def column(rows: Sequence[Row], metric: str) -> list[float]:
    """Return the scores of all frames in one metric."""
    return [float(row[metric]) for row in rows]


def pooled(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, min, max and harmonic_mean of a column; see POOLING."""
    harmonic = None
    if min(values) > -1:
        harmonic = len(values) / math.fsum(1 / (value + 1) for value in values) - 1
    return {
        "mean": round(math.fsum(values) / len(values), _DIGITS),
        "min": min(values),
        "max": max(values),
        "harmonic_mean": None if harmonic is None else round(harmonic, _DIGITS),
    }
