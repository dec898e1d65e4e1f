"""Where trials come from and what they say: the only package that knows Optuna."""

from __future__ import annotations

import optuna

from service.tuner.checking import check_space
from service.tuner.fronts import dominated_by, front, hypervolume, knee, ranks
from service.tuner.importance import importance
from service.tuner.memory import ContradictoryObservation, Memory, Observation
from service.tuner.pruning import Decision, decide
from service.tuner.recipes import Translation, baseline, translate, translate_named
from service.tuner.space import Coordinates, Point, Space, UnusableCalibration
from service.tuner.transfer import transfer

# It announces every study it creates, and ours are created and thrown away.
optuna.logging.set_verbosity(optuna.logging.ERROR)

__all__ = [
    "ContradictoryObservation",
    "Coordinates",
    "Decision",
    "Memory",
    "Observation",
    "Point",
    "Space",
    "Translation",
    "UnusableCalibration",
    "baseline",
    "check_space",
    "decide",
    "dominated_by",
    "front",
    "hypervolume",
    "importance",
    "knee",
    "ranks",
    "transfer",
    "translate",
    "translate_named",
]
