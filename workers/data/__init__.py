"""Photographs on disk become pairs of low and high resolution on the device."""

from __future__ import annotations

from workers.data.decode import DataError
from workers.data.degrade import bicubic, enlarge
from workers.data.pairs import Pairs, Whole, validation
from workers.data.sources import Photo, disjoint, load

__all__ = [
    "DataError",
    "Pairs",
    "Photo",
    "Whole",
    "bicubic",
    "disjoint",
    "enlarge",
    "load",
    "validation",
]
