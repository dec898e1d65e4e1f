"""Feature losses give the values and gradients that peers' own code gave on narrow networks.

Stored in tests/vectors/losses/extra/features.npz with the versions and conventions (`about`): float64,
images and gradients (2, 3, 32, 32); VGG16 is the stored narrow VGG19 without its fourth convolutions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import losses
from losses._features import FeatureNetwork, FeatureSource, network

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"

FIVE_RELUS = {"relu1_2": 1e-3, "relu2_2": 1e-3, "relu3_4": 0.01, "relu4_4": 0.01, "relu5_4": 0.01}

PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lpips_vgg16": ("lpips", {"heads": "lpips_vgg16"}),
    "lpips_vgg16_unlearned": ("lpips", {}),
    "lpips_squeezenet1_1": (
        "lpips",
        {"backbone": "squeezenet1_1", "heads": "lpips_squeezenet1_1"},
    ),
    "lpips_squeezenet1_1_unlearned": ("lpips", {"backbone": "squeezenet1_1"}),
    "dists": ("dists", {"heads": "dists"}),
    "dists_piq": ("dists", {"heads": "dists"}),
    "content_piq_mse": (
        "content",
        {"layers": ["relu3_3"], "criterion": "l2", "reduction": "channel_sum"},
    ),
    "content_piq_mae_unit_norm_avg": (
        "content",
        {
            "layers": {"relu2_2": 0.5, "relu4_3": 2},
            "criterion": "l1",
            "reduction": "channel_sum",
            "scaling": "unit_norm",
            "pooling": "avg",
        },
    ),
    "style_piq_mse": (
        "texture",
        {"layers": {"relu2_2": 0.5, "relu3_3": 2}, "criterion": "l2", "normalization": "none"},
    ),
    "content_trainner_charbonnier": (
        "content",
        {"preset": "real-esrgan", "criterion": "charbonnier", "padding": "replicate"},
    ),
    "content_trainner_pdl": (
        "content",
        {"backbone": "vgg19", "layers": FIVE_RELUS, "criterion": "pdl", "padding": "replicate"},
    ),
}


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    """Return every tensor of the peers' file, and the images they were given."""
    found: dict[str, Tensor] = {}
    for file in ("extra/features.npz", "images.npz"):
        with np.load(VECTORS / file) as arrays:
            found |= {k: torch.from_numpy(np.asarray(arrays[k])) for k in arrays if k != "about"}
    return found


def peers_network(source: FeatureSource, stored: dict[str, Tensor]) -> FeatureNetwork:
    if source.backbone == "squeezenet1_1":
        state = {k.removeprefix("squeezenet."): v for k, v in stored.items() if "squeezenet." in k}
    else:
        with np.load(VECTORS / "vgg19_narrow.npz") as arrays:
            state = {key: torch.from_numpy(arrays[key]) for key in arrays}
        if source.backbone == "vgg16":
            state = without_fourth_convolutions(state)
    net = network(source.backbone, state, "imagenet", source.pooling, source.padding)
    return net.double()


def without_fourth_convolutions(vgg19: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = [0, 2, 5, 7, 10, 12, 14, 19, 21, 23, 28, 30, 32]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    return {
        f"features.{new}.{part}": vgg19[f"features.{old}.{part}"]
        for old, new in zip(kept, places, strict=True)
        for part in ("weight", "bias")
    }


@pytest.mark.parametrize("peer", PEERS)
def test_value_and_gradient_equal_the_peers(peer: str, stored: dict[str, Tensor]) -> None:
    name, parameters = PEERS[peer]
    loss: Any = losses.build(name, **parameters)
    sr, hr = stored["sr"].double().requires_grad_(), stored["hr"].double()
    needs: dict[str, Any] = {
        "features": peers_network(loss.source, stored).compare(sr, hr, loss.layers)
    }
    if "heads" in losses.needs_of(loss):
        prefix = f"{loss.heads_source}.head."
        needs["heads"] = {k.removeprefix(prefix): v for k, v in stored.items() if prefix in k}
    value = loss(sr, hr, **needs)
    value.backward()
    torch.testing.assert_close(value.detach(), stored[f"{peer}.value"], rtol=1e-6, atol=0)
    wanted = stored[f"{peer}.grad"]
    assert sr.grad is not None
    torch.testing.assert_close(
        sr.grad.float(), wanted, rtol=1e-5, atol=1e-6 * float(wanted.abs().max())
    )
