"""LPIPS: heads, layers, and what its unit-length features do (peers' values: test_feature_peers)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import losses
from losses import Features
from losses._features import Backbone, FeatureNetwork, UnsuitableWeights, layers_of
from losses.lpips import LAYERS

Narrow = Callable[[Backbone], FeatureNetwork]
Pair = Callable[..., tuple[Tensor, Tensor]]


def on_features(sr: Tensor, hr: Tensor, **needs: Any) -> Tensor:
    """Return the loss of one layer's features, weighted when `heads` are given."""
    named = "mine" if "heads" in needs else "none"
    loss = losses.build("lpips", layers=["relu1_2"], heads=named)
    images = torch.full((sr.shape[0], 3, 8, 8), 0.5)
    given = Features({"relu1_2": sr}, {"relu1_2": hr})
    value: Tensor = loss(images, images, features=given, **needs)
    return value


def test_heads_are_needed_only_when_named() -> None:
    assert losses.needs_of(losses.build("lpips")) == ("features",)
    learned: Any = losses.build("lpips", heads="lpips_vgg16")
    assert losses.needs_of(learned) == ("features", "heads")
    assert learned.heads_source == "lpips_vgg16"


@pytest.mark.parametrize("backbone", LAYERS)
def test_default_layers_are_layers_of_the_backbone(backbone: str) -> None:
    loss: Any = losses.build("lpips", backbone=backbone)
    assert loss.layers == LAYERS[backbone]
    assert set(loss.layers) <= set(layers_of(backbone))


def test_without_heads_it_is_twice_one_less_the_cosine() -> None:
    sr, hr = (torch.rand(2, 5, 4, 4, dtype=torch.float64) for _ in range(2))
    cosine = torch.nn.functional.cosine_similarity(sr, hr, dim=1)
    torch.testing.assert_close(on_features(sr, hr), (2 - 2 * cosine).mean())


def test_heads_weigh_channels() -> None:
    sr, hr = (torch.rand(2, 3, 4, 4) for _ in range(2))
    each = [
        on_features(sr, hr, heads={"relu1_2": torch.eye(3)[i].view(1, 3, 1, 1)}) for i in range(3)
    ]
    both = on_features(sr, hr, heads={"relu1_2": torch.tensor([2.0, 0.0, 0.5])})
    torch.testing.assert_close(both, 2 * each[0] + 0.5 * each[2])


@pytest.mark.parametrize(
    ("heads", "sentence"),
    [
        (None, "The heads mine lack relu1_2"),
        ({"relu2_2": torch.ones(3)}, "lack relu1_2; they have relu2_2"),
        ({"relu1_2": torch.ones(64)}, "weigh 64 channels of relu1_2, but the features have 3"),
    ],
)
def test_heads_of_another_network_are_refused(heads: Any, sentence: str) -> None:
    sr = torch.rand(1, 3, 4, 4)
    with pytest.raises(UnsuitableWeights, match=sentence):
        on_features(sr, sr, heads=heads)


def test_gradient_is_finite_where_every_channel_is_dead(narrow: Narrow, pair: Pair) -> None:
    _, hr = pair(size=32)
    sr = torch.zeros_like(hr).requires_grad_()
    loss: Any = losses.build("lpips")
    net = narrow("vgg16")
    for step in net.steps:
        if isinstance(step, torch.nn.Conv2d) and step.bias is not None:
            step.bias.data.fill_(-0.3)  # silences most places of a black image
    value = loss(sr, hr, features=net.compare(sr, hr, loss.layers))
    (gradient,) = torch.autograd.grad(value, sr)
    assert torch.isfinite(gradient).all()
