"""Where trials come from and what they say: the only package that knows Optuna.

What is named here comes without Optuna, whose import takes half a second: thinking up trials is the
business of `service.tuner.mind`, in a process of its own.
"""

from __future__ import annotations

from service.tuner.checking import check_space
from service.tuner.fronts import dominated_by, front, hypervolume, knee, ranks
from service.tuner.importance import importance
from service.tuner.observation import ContradictoryObservation, Coordinates, Observation
from service.tuner.pruning import Decision, Rung, decide, never
from service.tuner.recipes import Translation, baseline, translate, translate_named
from service.tuner.space import Point, Space, UnusableCalibration
from service.tuner.transfer import transfer

__all__ = [
    "ContradictoryObservation",
    "Coordinates",
    "Decision",
    "Observation",
    "Point",
    "Rung",
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
    "never",
    "ranks",
    "transfer",
    "translate",
    "translate_named",
]
