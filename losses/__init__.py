"""Super-resolution losses, one file each; a new loss is one new file here and nothing else.

Images are (N, 3, H, W) in [0, 1]; every loss is called as `loss(sr, hr, **needs)` and returns a
scalar of at least float32 precision; `needs_of(loss)` names its needs. Needs torch only.
"""

from __future__ import annotations

import importlib
import pkgutil

from losses._features import Features, FeatureSource
from losses._functional import UnsuitableInput, trusted
from losses._registry import SPECS, build, needs_of
from losses._spec import (
    NEEDS,
    TRAINED,
    InvalidParameter,
    LossSpec,
    Parameter,
    Recipe,
    RecipeTerm,
    UnknownLoss,
)
from losses.recipes import RECIPES

__all__ = [
    "NEEDS",
    "RECIPES",
    "SPECS",
    "TRAINED",
    "FeatureSource",
    "Features",
    "InvalidParameter",
    "LossSpec",
    "Parameter",
    "Recipe",
    "RecipeTerm",
    "UnknownLoss",
    "UnsuitableInput",
    "build",
    "needs_of",
    "trusted",
]

for _sibling in sorted(found.name for found in pkgutil.iter_modules(__path__)):
    if not _sibling.startswith("_"):
        importlib.import_module(f"{__name__}.{_sibling}")
