"""Photographs on disk become pairs of low and high resolution on the device."""

from __future__ import annotations

from workers.data.decode import DataError
from workers.data.degrade import bicubic, enlarge
from workers.data.pairs import Batch, Pairs, Whole, validation
from workers.data.sources import Photo, class_labels, disjoint, load

__all__ = [
    "Batch",
    "DataError",
    "Pairs",
    "Photo",
    "Whole",
    "bicubic",
    "class_labels",
    "disjoint",
    "enlarge",
    "load",
    "validation",
]
