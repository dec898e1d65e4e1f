"""Scores of SR images against HR images: one metric, one file, found by its registration."""

from __future__ import annotations

import importlib
import pkgutil

from workers.metrics._registry import (
    SPECS,
    MetricUnavailable,
    UnknownMetric,
    check,
    measure,
    prepare,
    register,
    register_each,
    score,
)
from workers.metrics._still import ImageUnusable, Still

for _file in pkgutil.iter_modules(__path__):
    if not _file.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_file.name}")

__all__ = [
    "SPECS",
    "ImageUnusable",
    "MetricUnavailable",
    "Still",
    "UnknownMetric",
    "check",
    "measure",
    "prepare",
    "register",
    "register_each",
    "score",
]
