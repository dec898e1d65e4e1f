"""A vocabulary of three losses, and studies small enough to live through in a few dozen steps."""

from __future__ import annotations

from typing import Any, Literal

from service.contract.vocabulary import (
    LossInfo,
    MetricInfo,
    ModelInfo,
    Recipe,
    RecipeTerm,
    Vocabulary,
)

#: Seconds a lease lives here; so long that no test lasts as long, because time is moved by hand.
LEASE_SECONDS = 3600.0
#: Attempts before a trial fails.
MAX_ATTEMPTS = 3
#: The start job's figures; shares can be turned into weights with them.
NORMS = {"l1": 2.0, "content": 40.0, "edge": 0.5}
RUNGS = (25, 50, 75)
STEPS = 100

Side = Literal["distortion", "perception"]


def _loss(name: str, side: Side) -> LossInfo:
    return LossInfo(name=name, family="pixel", summary=name, side=side, share=(0.0, 1.0))


def vocabulary() -> Vocabulary:
    """What studies of these tests may name."""
    psnr = MetricInfo(name="psnr_y", summary="PSNR", direction="maximize", side="distortion")
    mdsi = MetricInfo(name="mdsi", summary="MDSI", direction="minimize", side="perception")
    terms = [RecipeTerm(loss="l1", weight=0.01), RecipeTerm(loss="content", weight=1.0)]
    return Vocabulary(
        losses={
            "l1": _loss("l1", "distortion"),
            "content": _loss("content", "perception"),
            "edge": _loss("edge", "distortion"),
        },
        models={"espcn": ModelInfo(name="espcn", summary="ESPCN", scales=[2, 3, 4])},
        metrics={"psnr_y": psnr, "mdsi": mdsi},
        recipes={"paper": Recipe(name="paper", summary="A paper's", source="nowhere", terms=terms)},
    )


def definition(name: str, **changes: Any) -> dict[str, Any]:
    """A study of three trials with rungs at 25, 50 and 75; `changes` replace whole fields."""
    return {
        "name": name,
        "data": {"train": ["/photos/train"], "validation": ["/photos/test"]},
        "model": {"name": "espcn"},
        "losses": [{"loss": loss} for loss in NORMS],
        "search": {"recipes": ["pixel"], "startup": 2, "seed": 7, "sampler": "random", "ahead": 2},
        "objectives": ["psnr_y", "mdsi"],
        "metrics": [],
        "training": {"steps": STEPS},
        "budget": {"trials": 3},
        "pruning": {"method": "none"},
        **changes,
    }
