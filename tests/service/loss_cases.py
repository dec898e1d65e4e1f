"""What other people's code gave, by the ids docs/losses.md names, and what a built loss gives there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses import Features
from losses._faces import Faces
from losses._features import FeatureSource, network
from losses.adversarial import gradient_penalty, r1_penalty

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"
#: Stored as similarities, of which the losses are what is left to 1.
_SIMILARITIES = {"ssim_piq", "msssim_pytorch_msssim"}
_NAMES = {"w": "weight", "ema": "averaged"}


@cache
def _entries() -> dict[str, Any]:
    """Return all stored cases but those on networks' features, by id."""
    files = ("index.json", "extra/images.json", "extra/adversarial.json")
    found = [case for file in files for case in json.loads((VECTORS / file).read_text())["cases"]]
    return {case["id"]: case for case in found}


@cache
def _arrays(file: str) -> dict[str, Tensor]:
    with np.load(VECTORS / f"{file}.npz") as stored:
        arrays = {key: np.asarray(stored[key]) for key in stored if key != "about"}
    return {key: torch.from_numpy(array.astype(np.float64)) for key, array in arrays.items()}


def stored(case: str) -> float:
    """Return the value of a case, or KeyError."""
    if case in _entries():
        value = float(_entries()[case]["value"])
        return 1 - value if case in _SIMILARITIES else value
    return float(_arrays("extra/features")[f"{case}.value"])


def tolerance(case: str) -> float:
    """Return the relative tolerance its makers gave a case; some computed in float32."""
    return float(_entries().get(case, {}).get("rtol", 2e-6))


def case_ids() -> set[str]:
    """Return the ids of all stored cases."""
    on_networks = [key for key in _arrays("extra/features") if key.endswith(".value")]
    return set(_entries()) | {key.removesuffix(".value") for key in on_networks}


def given(case: str, loss: Any) -> float:
    """Return the value of a built loss on the inputs of a case."""
    if case not in _entries():
        return float(_on_network(loss, "images"))
    if {"fake", "real"} & set(_entries()[case].get("inputs", ())) or case.endswith(("_g", "_d")):
        return float(_verdict(case, loss))
    if re.search(r"_gp|r1_", case):
        return float(_penalty(case, loss))
    start = next((start for start in _WAYS if case.startswith(start)), None)
    return float(_on_images(case, loss) if start is None else _WAYS[start](case, loss))


def _inputs(case: str) -> dict[str, Tensor]:
    entry = _entries()[case]
    places = {name: place.split(".") for name, place in entry["inputs"].items()}
    found = {_NAMES.get(name, name): _arrays(file)[key] for name, (file, key) in places.items()}
    if not entry.get("crop"):
        return found
    height, width = entry["crop"]
    return {k: x if k == "weight" else x[..., :height, :width] for k, x in found.items()}


def _on_images(case: str, loss: Any) -> Tensor:
    inputs = _inputs(case)
    sr = inputs.pop("sr")
    value: Tensor = loss(sr, inputs.pop("hr", sr), **inputs)
    return value


def _on_one_channel(case: str, loss: Any) -> Tensor:
    value: Tensor = loss(*(x[:, :1] for x in _inputs(case).values()))
    return value


def _on_features(case: str, loss: Any) -> Tensor:
    sr, hr = _inputs(case).values()
    (layer,) = loss.layers
    images = torch.full((len(sr), 3, 8, 8), 0.5)
    value: Tensor = loss(images, images, features=Features({layer: sr}, {layer: hr}))
    return value


def _on_network(loss: Any, file: str) -> Tensor:
    sr, hr = _arrays(file)["sr"], _arrays(file)["hr"]
    needs = {"features": _network(loss.source).compare(sr, hr, loss.layers)}
    if getattr(loss, "heads_source", ""):
        prefix = f"{loss.heads_source}.head."
        heads = {k: x for k, x in _arrays("extra/features").items() if k.startswith(prefix)}
        needs["heads"] = {key.removeprefix(prefix): x for key, x in heads.items()}
    value: Tensor = loss(sr, hr, **needs)
    return value


@cache
def _network(source: FeatureSource) -> Any:
    """Return the narrow network the stored values belong to."""
    if source.backbone == "squeezenet1_1":
        every = _arrays("extra/features")
        state = {k.removeprefix("squeezenet."): x for k, x in every.items() if "squeezenet." in k}
    else:
        state = _arrays("vgg19_narrow")
    if source.backbone == "vgg16":  # the stored one is VGG19's without its fourth convolutions
        kept = (0, 2, 5, 7, 10, 12, 14, 19, 21, 23, 28, 30, 32)
        places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
        state = {
            f"features.{new}.{part}": state[f"features.{old}.{part}"]
            for old, new in zip(kept, places, strict=True)
            for part in ("weight", "bias")
        }
    return network(source.backbone, state, "imagenet", source.pooling, source.padding).double()


def _verdict(case: str, loss: Any) -> Tensor:
    """The game on stored logits; ids tell the side by _g or _d."""
    fake, real = (_arrays("logits")[name] for name in ("fake", "real"))
    labels = torch.tensor([0, 1, 0, 1]) if loss.classes > 1 else None
    side = "discriminator" if re.search(r"_d(_|$)", case) else "generator"
    value: Tensor = getattr(loss.game, side)(fake, real, labels)
    return value


def _penalty(case: str, loss: Any) -> Tensor:
    """R1 or WGAN-GP, stored without γ/2 and λ."""
    sr, hr = (_arrays("images")[name] for name in ("sr", "hr"))
    own = _arrays("disc")

    def judge(x: Tensor) -> Tensor:
        return F.conv2d(F.leaky_relu(F.conv2d(x, own["w1"], padding=1), 0.2), own["w2"], padding=1)

    if "r1" in case:
        assert loss.r1 > 0
        hr = hr.clone().requires_grad_()
        return r1_penalty(judge(hr), hr, norm=loss.penalty_norm).detach()
    assert loss.gradient_penalty > 0
    penalty = gradient_penalty(judge, hr, sr, alpha=own["alpha"], norm=loss.penalty_norm)
    return penalty.detach()


def _cycle(case: str, loss: Any) -> Tensor:
    inputs = _inputs(case)
    shrinker = nn.Conv2d(3, 3, 4, stride=4, bias=False).double()
    shrinker.weight.data = inputs["weight"]
    value: Tensor = loss(inputs["sr"], inputs["sr"], lr=inputs["lr"], shrinker=shrinker)
    return value.detach()


def _faces(case: str, loss: Any) -> Tensor:
    sr, hr = _inputs(case).values()
    faces = Faces(sr, hr, torch.arange(len(sr)), len(sr))
    images = torch.full((len(sr), 3, 8, 8), 0.5)
    value: Tensor = loss(images, images, faces=faces)
    return value


#: How a case is computed, by the start of its id; all others are losses of two images.
_WAYS: dict[str, Callable[[str, Any], Tensor]] = {
    "content_": _on_features,
    "texture_": _on_features,
    "style_": _on_features,
    "percep_": lambda case, loss: _on_network(loss, "images64"),
    "cycle_": _cycle,
    "heatmap_": _faces,
    "gradient_sobel": _on_one_channel,
}
