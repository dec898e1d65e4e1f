"""The study both sides tune: six log-uniform numbers, ten reports, one score.

Ours is a study of six losses searched as raw weights (`space: weights`): the very space Optuna is
given, one log-uniform float per term. Sampler and its options are the service's defaults (TPE,
multivariate, with constant liar), as many random trials at first as Optuna's default; no pruning,
no recipes, a budget nobody reaches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

TERMS = ("l1", "charbonnier", "huber", "l2", "edge", "fft")
LOW, HIGH = 1e-4, 10.0
STARTUP = 10
RUNGS = tuple(range(100, 1100, 100))
STEPS = 1100
OBJECTIVE = "psnr_y"
#: What a start job hands in; its bytes do not matter to the control plane.
START = b"the shared start"


def definition(name: str = "benchmark", *, trials: int = 100_000) -> dict[str, Any]:
    """The study as its author would write it."""
    return {
        "name": name,
        "data": {"train": ["/photos/train"], "validation": ["/photos/validation"]},
        "model": {"name": "espcn"},
        "losses": [{"loss": term, "range": [LOW, HIGH]} for term in TERMS],
        "search": {"space": "weights", "startup": STARTUP, "recipes": []},
        "objectives": [OBJECTIVE],
        "metrics": [],
        "training": {"steps": STEPS, "rungs": [step / STEPS for step in RUNGS]},
        "pruning": {"method": "none"},
        "budget": {"trials": trials},
    }


def score(weights: Mapping[str, float]) -> float:
    """A smooth bowl with its top inside of the space; the same for both sides."""
    return 30.0 - sum((math.log10(w) + 1.5) ** 2 for w in weights.values() if w > 0.0)


def start_result(token: int) -> dict[str, Any]:
    """The result of a study's start job, and the object it names (`START`)."""
    norms = {term: float(place + 1) for place, term in enumerate(TERMS)}
    return {
        "token": token,
        "metrics": {OBJECTIVE: 25.0},
        "step": STEPS,
        "start": {"sha256": start_digest(), "size": len(START)},
        "calibration": {"norms": norms, "values": norms, "batches": 8},
    }


def start_digest() -> str:
    return hashlib.sha256(START).hexdigest()
