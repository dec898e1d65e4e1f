"""Feature networks are frozen, stop where they may, and say what they lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

import losses
from losses._features import (
    Backbone,
    FeatureNetwork,
    Features,
    UnknownLayer,
    UnsuitableWeights,
    layers_of,
    network,
)
from losses._functional import UnsuitableInput

Narrow = Callable[[Backbone], FeatureNetwork]
BACKBONES: tuple[Backbone, ...] = get_args(Backbone)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_layers_are_known_without_building_the_network(backbone: Backbone, narrow: Narrow) -> None:
    assert layers_of(backbone) == narrow(backbone).layers


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_layer_can_be_extracted_and_carries_gradient(
    backbone: Backbone, narrow: Narrow
) -> None:
    images = torch.rand(2, 3, 32, 40, requires_grad=True)
    net = narrow(backbone)
    found = net.extract(images, net.layers)
    assert tuple(found) == net.layers
    assert all(feature.shape[0] == 2 and feature.ndim == 4 for feature in found.values())
    (gradient,) = torch.autograd.grad(found[net.layers[-1]].sum(), images)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_asking_for_fewer_layers_does_not_change_them(backbone: Backbone, narrow: Narrow) -> None:
    images = torch.rand(1, 3, 32, 32)
    net = narrow(backbone)
    everything = net.extract(images, net.layers)
    for layer in net.layers:
        assert torch.equal(net.extract(images, [layer])[layer], everything[layer]), layer


def test_relu_layers_are_the_positive_part_of_the_layer_before(narrow: Narrow) -> None:
    found = narrow("vgg16").extract(torch.rand(1, 3, 32, 32), ["conv3_3", "relu3_3"])
    assert (found["conv3_3"] < 0).any()
    assert torch.equal(found["relu3_3"], found["conv3_3"].clamp_min(0))


def test_nothing_is_computed_beyond_the_deepest_layer(narrow: Narrow) -> None:
    net = narrow("vgg16")
    ran: list[str] = []
    for name, step in zip(net.layers, net.steps, strict=True):
        step.register_forward_hook(lambda *_, name=name: ran.append(name))
    net.extract(torch.rand(1, 3, 16, 16), ["relu1_1", "relu2_2"])
    assert ran == list(net.layers[: net.layers.index("relu2_2") + 1])


def test_the_network_is_frozen_and_building_it_uses_no_random_numbers(narrow: Narrow) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    net = narrow("vgg19")
    assert torch.equal(torch.rand(3), expected)
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_hr_features_keep_no_gradient(narrow: Narrow) -> None:
    sr, hr = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    features = narrow("vgg16").compare(sr, hr, ["relu1_2"])
    assert features.sr["relu1_2"].requires_grad
    assert not features.hr["relu1_2"].requires_grad


def test_caffe_preprocessing_is_bgr_in_0_to_255_less_the_mean() -> None:
    seen = first_layer_sees(torch.tensor([0.2, 0.4, 0.6]), "caffe")
    expected = [0.6 * 255 - 103.939, 0.4 * 255 - 116.779, 0.2 * 255 - 123.68]
    torch.testing.assert_close(seen, torch.tensor(expected), rtol=1e-4, atol=1e-3)


def test_imagenet_preprocessing_is_rgb_standardised() -> None:
    seen = first_layer_sees(torch.tensor([0.2, 0.4, 0.6]), "imagenet")
    expected = [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.6 - 0.406) / 0.225]
    torch.testing.assert_close(seen, torch.tensor(expected))


def first_layer_sees(colour: Tensor, preprocessing: Any) -> Tensor:
    """Return the three numbers that reach conv1_1 for an image of one colour."""
    state: dict[str, Tensor] = {}
    for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        identity = torch.zeros(3, 3, 3, 3)
        identity[range(3), range(3), 1, 1] = 1
        state |= {f"features.{index}.weight": identity, f"features.{index}.bias": torch.zeros(3)}
    net = network("vgg16", state, preprocessing)
    return net.extract(colour.view(1, 3, 1, 1).expand(1, 3, 4, 4), ["conv1_1"])["conv1_1"][
        0, :, 2, 2
    ]


def test_an_unknown_layer_is_refused_with_the_known_ones(narrow: Narrow) -> None:
    with pytest.raises(UnknownLayer, match=r"no layer 'conv1_3'; it has conv1_1, .*Did you mean"):
        narrow("vgg16").extract(torch.rand(1, 3, 16, 16), ["conv1_3"])


def test_features_that_were_not_extracted_are_named() -> None:
    images = torch.rand(1, 3, 16, 16)
    features = Features(sr={"relu1_1": images}, hr={"relu1_1": images})
    with pytest.raises(UnknownLayer, match="lack relu2_2; extracted were relu1_1"):
        losses.build("content")(images, images, features=features)


def test_a_state_dict_with_a_missing_tensor_is_refused() -> None:
    with pytest.raises(UnsuitableWeights, match=r"features\.0\.weight"):
        network("vgg16", {})


def test_grey_images_are_refused(narrow: Narrow) -> None:
    with pytest.raises(UnsuitableInput, match=r"\(1, 1, 16, 16\)"):
        narrow("vgg16").extract(torch.rand(1, 1, 16, 16), ["relu1_1"])


def test_content_follows_weights_layer_by_layer(narrow: Narrow) -> None:
    sr, hr = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    features = narrow("vgg16").compare(sr, hr, ["relu1_2", "relu2_2"])

    def content(layers: Any) -> float:
        module: nn.Module = losses.build("content", layers=layers)
        return float(module(sr, hr, features=features))

    both = content({"relu1_2": 0.3, "relu2_2": 2.0})
    assert both == pytest.approx(0.3 * content(["relu1_2"]) + 2 * content(["relu2_2"]), rel=1e-5)
