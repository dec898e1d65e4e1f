"""Feature networks are frozen, stop where they may, and say what they lack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import losses
from losses._features import (
    Backbone,
    FeatureNetwork,
    Features,
    UnknownLayer,
    UnsuitableWeights,
    layers_of,
    network,
    source,
)
from losses._features.pooling import Pool
from losses._functional import UnsuitableInput

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"

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


@pytest.mark.parametrize(
    ("backbone", "before", "after"),
    [
        ("vgg16", "conv3_3", "relu3_3"),
        ("resnet18", "bn1", "relu1"),
        ("resnet50", "layer2_1_pre", "layer2_1"),
        ("squeezenet1_1", "fire4_pre", "fire4"),
    ],
)
def test_layers_after_relu_are_the_positive_part_of_the_layer_before(
    narrow: Narrow, backbone: Backbone, before: str, after: str
) -> None:
    found = narrow(backbone).extract(torch.rand(1, 3, 32, 32), [before, after])
    assert (found[before] < 0).any()
    assert torch.equal(found[after], found[before].clamp_min(0))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_stage_is_its_last_block(narrow: Narrow, backbone: Backbone) -> None:
    last = {"resnet18": "layer3_1", "resnet50": "layer3_5"}[backbone]
    found = narrow(backbone).extract(torch.rand(1, 3, 32, 32), ["layer3", last])
    assert torch.equal(found["layer3"], found[last])


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_resnets_equal_their_definition_with_batchnorm_unfolded(backbone: Backbone) -> None:
    state = {k: v.double() for k, v in thin(backbone).items()}
    images = torch.rand(2, 3, 40, 36, dtype=torch.float64)
    net = network(backbone, state, "none").double()
    for stage in (1, 2, 3, 4):
        ours = net.extract(images, [f"layer{stage}"])[f"layer{stage}"]
        theirs = resnet(state, backbone, images, stage)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def resnet(state: dict[str, Tensor], backbone: str, x: Tensor, stages: int) -> Tensor:
    """Return the output of `stages` stages, convolution by convolution, as the paper has it."""

    def step(x: Tensor, key: str, norm: str, stride: int) -> Tensor:
        weight = state[f"{key}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{norm}.{part}"] for part in parts)
        return F.batch_norm(x, mean, variance, scale, shift, training=False, eps=1e-5)

    x = F.max_pool2d(step(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    strided = 1 if backbone == "resnet18" else 2
    for stage in range(1, stages + 1):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            key, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y, last = x, 2 if backbone == "resnet18" else 3
            for i in range(1, last + 1):
                y = step(y, f"{key}.conv{i}", f"{key}.bn{i}", stride if i == strided else 1)
                y = y if i == last else y.relu()
            if f"{key}.downsample.0.weight" in state:
                x = step(x, f"{key}.downsample.0", f"{key}.downsample.1", stride)
            x, block = (x + y).relu(), block + 1
    return x


@pytest.mark.parametrize(("size", "expected"), [(8, 4), (7, 4)])
def test_l2_pooling_is_the_root_of_the_hanning_mean_of_squares(size: int, expected: int) -> None:
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    window = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 16
    kernel = window.double().expand(3, 1, 3, 3)
    known = torch.sqrt(F.conv2d(x.square(), kernel, stride=2, padding=1, groups=3) + 1e-12)
    pooled = Pool("l2", 2)(x)
    assert pooled.shape[-1] == expected
    torch.testing.assert_close(pooled, known)


def test_l2_pooling_has_a_finite_gradient_where_nothing_is() -> None:
    x = torch.zeros(1, 2, 6, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(Pool("l2", 2)(x).sum(), x)
    assert torch.isfinite(gradient).all()


def test_pooling_is_replaced() -> None:
    state = thin("vgg19")
    images = torch.rand(1, 3, 32, 32)
    found = network("vgg19", state, pooling="avg").extract(images, ["relu1_2", "pool1"])
    torch.testing.assert_close(found["pool1"], F.avg_pool2d(found["relu1_2"], 2))


def test_images_that_pooling_leaves_nothing_of_are_refused(narrow: Narrow) -> None:
    with pytest.raises(UnsuitableInput, match=r"1×1 cannot be pooled any further; take an earlier"):
        narrow("vgg16").extract(torch.rand(1, 3, 8, 8), ["relu5_1"])


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


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("lpips", [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.6 - 0.406) / 0.225]),
        ("range_norm", [(0.6 - 0.485) / 0.229, (0.7 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]),
        ("symmetric", [-0.6, -0.2, 0.2]),
        ("caffe_rgb", [0.2 * 255 - 123.68, 0.4 * 255 - 116.779, 0.6 * 255 - 103.939]),
        ("none", [0.2, 0.4, 0.6]),
    ],
)
def test_preprocessing_by_name(preprocessing: str, expected: list[float]) -> None:
    seen = first_layer_sees(torch.tensor([0.2, 0.4, 0.6]), preprocessing)
    torch.testing.assert_close(seen, torch.tensor(expected), rtol=1e-4, atol=1e-3)


def test_lpips_shift_and_scale_are_imagenets_mean_and_deviation() -> None:
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    colour = torch.tensor([0.2, 0.4, 0.6])
    seen = first_layer_sees(colour, "lpips")
    torch.testing.assert_close(seen, (2 * colour - 1 - shift) / scale)


def test_sources_that_differ_in_name_only_share_a_network() -> None:
    assert source("vgg16", preprocessing="lpips") == source("vgg16", preprocessing="imagenet")
    assert source("vgg16", preprocessing="lpips") != source("vgg16", preprocessing="own")


@pytest.mark.parametrize(("preprocessing", "side"), [("caffe", 8), ("imagenet", 7)])
def test_squeezenet_pads_its_first_convolution_for_caffes_weights_only(
    preprocessing: str, side: int
) -> None:
    net = network("squeezenet1_1", thin("squeezenet1_1"), preprocessing)
    assert net.extract(torch.rand(1, 3, 16, 16), ["conv1"])["conv1"].shape[-1] == side


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


@pytest.mark.parametrize(
    ("backbone", "key", "sentence"),
    [
        ("vgg19", "features.5.weight", r"'features\.5\.weight' is .* \(any, 4, 3, 3\)"),
        ("resnet18", "layer2.0.bn1.running_var", r"'layer2\.0\.bn1\.running_var' is .* \(5\)"),
        ("resnet50", "layer1.0.conv1.weight", r"'layer1\.0\.conv1\.weight' is .* \(any, 4, 1, 1\)"),
        ("squeezenet1_1", "features.3.squeeze.bias", r"'features\.3\.squeeze\.bias' is .* \(3\)"),
    ],
)
def test_a_misshapen_tensor_is_named_with_the_shape_it_needs(
    backbone: Backbone, key: str, sentence: str
) -> None:
    state = thin(backbone) | {key: torch.zeros(2, 7)}
    with pytest.raises(UnsuitableWeights, match=sentence):
        network(backbone, state)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("vgg17",), "No feature network 'vgg17'; .*Did you mean vgg1"),
        (("vgg16", "imagnet"), "No preprocessing 'imagnet'; .*Did you mean imagenet"),
        (("vgg16", "own"), "No preprocessing 'own'"),
        (("vgg16", "none", "mean"), "No pooling 'mean'; it must be one of max, avg, l2"),
        (("vgg16", "none", "max", "mirror"), "No padding of the first convolution 'mirror'"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(
    settings: tuple[str, ...], sentence: str
) -> None:
    backbone, *others = settings
    with pytest.raises(losses.InvalidParameter, match=sentence):
        network(backbone, {}, *others)


def test_half_precision_weights_are_computed_with_in_float32() -> None:
    state = {k: v.half() for k, v in thin("resnet18").items()}
    found = network("resnet18", state).extract(torch.rand(1, 3, 32, 32), ["layer1"])
    assert found["layer1"].dtype is torch.float32


def test_detached_features_leave_the_generator_alone(narrow: Narrow) -> None:
    sr, hr = torch.rand(1, 3, 16, 16, requires_grad=True), torch.rand(1, 3, 16, 16)
    features = narrow("vgg16").compare(sr, hr, ["relu1_2"])
    detached = features.detached()
    assert not detached.sr["relu1_2"].requires_grad
    assert torch.equal(detached.sr["relu1_2"], features.sr["relu1_2"])
    assert features.sr["relu1_2"].requires_grad


def thin(backbone: str) -> dict[str, Tensor]:
    """Return a narrow state dict under torchvision's names: stored ones, and random ResNets."""
    if backbone.startswith("resnet"):
        return thin_resnet(backbone)
    file, prefix = "vgg19_narrow", ""
    if backbone == "squeezenet1_1":
        file, prefix = "extra/features", "squeezenet."
    with np.load(VECTORS / f"{file}.npz") as stored:
        keys = [key for key in stored if key.startswith(f"{prefix}features.")]
        return {key.removeprefix(prefix): torch.from_numpy(stored[key]) for key in keys}


def thin_resnet(backbone: str) -> dict[str, Tensor]:
    blocks, kernels, expansion = {
        "resnet18": ((2, 2, 2, 2), (3, 3), 1),
        "resnet50": ((3, 4, 6, 3), (1, 3, 1), 4),
    }[backbone]
    generator = torch.Generator().manual_seed(2)
    state: dict[str, Tensor] = {}

    def add(convolution: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        shape = (outputs, inputs, kernel, kernel)
        spread = (2 / (inputs * kernel**2)) ** 0.5
        state[f"{convolution}.weight"] = torch.randn(shape, generator=generator) * spread
        for name, least in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5)):
            state[f"{norm}.{name}"] = torch.rand(outputs, generator=generator) + least
        state[f"{norm}.running_var"] = torch.rand(outputs, generator=generator) + 0.5

    add("conv1", "bn1", 4, 3, 7)
    inputs = 4
    for stage, count in enumerate(blocks, start=1):
        width = 3 + stage
        for block in range(count):
            key = f"layer{stage}.{block}"
            widths = [inputs, *[width] * (len(kernels) - 1), width * expansion]
            for i, kernel in enumerate(kernels, start=1):
                add(f"{key}.conv{i}", f"{key}.bn{i}", widths[i], widths[i - 1], kernel)
            if block == 0 and (stage > 1 or inputs != widths[-1]):
                add(f"{key}.downsample.0", f"{key}.downsample.1", widths[-1], inputs, 1)
            inputs = widths[-1]
    return state


def test_grey_images_are_refused(narrow: Narrow) -> None:
    with pytest.raises(UnsuitableInput, match=r"\(1, 1, 16, 16\)"):
        narrow("vgg16").extract(torch.rand(1, 1, 16, 16), ["relu1_1"])
