"""DISTS: structure, texture and heads (peers' values: test_feature_peers)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import losses
from losses._features import Backbone, FeatureNetwork, UnsuitableWeights

Narrow = Callable[[Backbone], FeatureNetwork]
Pair = Callable[..., tuple[Tensor, Tensor]]

WIDTHS = {"relu1_2": 4, "relu2_2": 8, "relu3_3": 16, "relu4_3": 16, "relu5_3": 16}


def only(kind: str, layer: str) -> dict[str, Tensor]:
    """Return heads that leave one kind of similarity of one stage."""
    shapes = losses.build("dists", heads="mine").head_shapes(WIDTHS)  # type: ignore[operator]  # nn.Module types attributes as Tensor | Module
    chosen = f"{kind}.{layer}"
    return {key: torch.full((n,), float(key == chosen)) for key, n in shapes.items()}


def dists(sr: Tensor, hr: Tensor, narrow: Narrow, heads: Any = None, **settings: Any) -> Tensor:
    loss: Any = losses.build("dists", heads="mine" if heads else "none", **settings)
    features = narrow(loss.source).to(sr.dtype).compare(sr, hr, loss.layers)
    value: Tensor = loss(sr, hr, features=features, heads=heads)
    return value


def test_pooling_is_l2_and_the_network_is_shared_with_nobody_who_pools_otherwise() -> None:
    loss: Any = losses.build("dists")
    assert loss.source == losses.FeatureSource("vgg16", pooling="l2")
    assert loss.source != losses.build("lpips").source


def test_a_shift_of_brightness_is_texture_of_the_image_and_no_structure(
    narrow: Narrow, pair: Pair
) -> None:
    _, hr = pair(size=32, dtype=torch.float64)
    sr = hr * 0.8 + 0.1
    shifted = hr + 0.1
    assert float(dists(shifted, hr, narrow, only("beta", "image"))) == pytest.approx(0, abs=1e-12)
    assert float(dists(shifted, hr, narrow, only("alpha", "image"))) > 1e-3
    assert float(dists(sr, hr, narrow, only("beta", "image"))) > 1e-3


def test_the_image_stage_is_the_definition(narrow: Narrow, pair: Pair) -> None:
    sr, hr = pair(size=32, dtype=torch.float64)
    ours, theirs = sr.mean((2, 3)), hr.mean((2, 3))
    texture = (2 * ours * theirs + 1e-6) / (ours**2 + theirs**2 + 1e-6)
    covariance = (sr * hr).mean((2, 3)) - ours * theirs
    spread = sr.var((2, 3), correction=0) + hr.var((2, 3), correction=0)
    structure = (2 * covariance + 1e-6) / (spread + 1e-6)
    # A stage's weights are divided by their sum, here by its three channels.
    for kind, known in (("alpha", 1 - texture.mean()), ("beta", 1 - structure.mean())):
        torch.testing.assert_close(dists(sr, hr, narrow, only(kind, "image")), known)


def test_without_heads_stages_and_kinds_count_the_same(narrow: Narrow, pair: Pair) -> None:
    sr, hr = pair(size=32, dtype=torch.float64)
    parts = [
        dists(sr, hr, narrow, only(kind, layer))
        for kind in ("alpha", "beta")
        for layer in ("image", *WIDTHS)
    ]
    torch.testing.assert_close(dists(sr, hr, narrow), torch.stack(parts).mean())


def test_digits_survive_near_zero(narrow: Narrow, pair: Pair) -> None:
    sr, hr = pair(size=32, dtype=torch.float64)
    near = (hr + 1e-3 * (sr - hr)).float()
    exact = dists(near.double(), hr.float().double(), narrow)
    assert float(exact) < 1e-6
    assert float(dists(near, hr.float(), narrow)) == pytest.approx(float(exact), rel=1e-3)


def test_heads_that_lack_a_stage_are_refused(narrow: Narrow, pair: Pair) -> None:
    sr, hr = pair(size=32)
    heads = only("alpha", "image")
    del heads["beta.relu3_3"]
    with pytest.raises(UnsuitableWeights, match=r"The heads mine lack beta\.relu3_3"):
        dists(sr, hr, narrow, heads)


def test_heads_are_weighed_by_their_common_sum(narrow: Narrow, pair: Pair) -> None:
    sr, hr = pair(size=32)
    heads = {key: 0.3 + x for key, x in only("alpha", "relu2_2").items()}
    tenfold = {key: 10 * x for key, x in heads.items()}
    torch.testing.assert_close(dists(sr, hr, narrow, heads), dists(sr, hr, narrow, tenfold))
