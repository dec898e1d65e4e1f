"""Generators that a study can train: one architecture, one file, found by its registration."""

from __future__ import annotations

import importlib
import pkgutil

from workers.models._registry import (
    SPECS,
    InvalidModelParameter,
    Range,
    UnknownModel,
    build,
    register,
)

for _file in pkgutil.iter_modules(__path__):
    if not _file.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["SPECS", "InvalidModelParameter", "Range", "UnknownModel", "build", "register"]
