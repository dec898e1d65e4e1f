"""Content loss: peers' values, presets, and how its settings relate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import losses
from losses import Features
from losses._features import Backbone, FeatureNetwork

Narrow = Callable[[Backbone], FeatureNetwork]
Pair = Callable[..., tuple[Tensor, Tensor]]

FIVE = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}

FEATURE_CASES: dict[str, dict[str, Any]] = {
    "content_mse": {"criterion": "l2"},
    "content_survey": {"criterion": "survey"},
}

VGG_CASES: dict[str, dict[str, Any]] = {
    "percep_esrgan_conv5_4_l1": {"preset": "esrgan"},
    "percep_relu5_4_l1": {"preset": "esrgan", "layers": ["relu5_4"]},
    "percep_realesrgan_l1": {"preset": "real-esrgan"},
}


def on_features(sr: Tensor, hr: Tensor, **settings: Any) -> Tensor:
    """Return the loss of one layer's features."""
    loss = losses.build("content", layers=["relu1_1"], **settings)
    images = torch.full((sr.shape[0], 3, 8, 8), 0.5)
    value: Tensor = loss(images, images, features=Features({"relu1_1": sr}, {"relu1_1": hr}))
    return value


def positive_features(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sr, hr = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return sr, hr


@pytest.mark.parametrize("case_id", FEATURE_CASES)
def test_distances_of_features_equal_the_definitions(
    case: Callable[[str], Any], case_id: str
) -> None:
    known = case(case_id)
    sr = known.inputs["sr"].requires_grad_()
    value = on_features(sr, known.inputs["hr"], **FEATURE_CASES[case_id])
    known.assert_value(value)
    known.assert_gradient(torch.autograd.grad(value, sr)[0], "sr")


@pytest.mark.parametrize("case_id", VGG_CASES)
def test_perceptual_loss_through_vgg19_equals_basicsr(
    case: Callable[[str], Any], narrow_vgg19: FeatureNetwork, case_id: str
) -> None:
    known = case(case_id)
    sr, hr = known.inputs["sr"].requires_grad_(), known.inputs["hr"]
    loss: Any = losses.build("content", **VGG_CASES[case_id])
    value = loss(sr, hr, features=narrow_vgg19.compare(sr, hr, loss.layers))
    value.backward()
    known.assert_value(value)
    known.assert_gradient(sr.grad, "sr")


def test_layer_before_relu_keeps_its_value_when_the_one_after_is_asked_for_too(
    case: Callable[[str], Any], narrow_vgg19: FeatureNetwork
) -> None:
    before, after = case("percep_esrgan_conv5_4_l1"), case("percep_relu5_4_l1")
    sr, hr = before.inputs["sr"], before.inputs["hr"]
    features = narrow_vgg19.compare(sr, hr, ["conv5_4", "relu5_4"])
    value = losses.build("content", backbone="vgg19", layers=["conv5_4"])(sr, hr, features=features)
    before.assert_value(value)
    assert abs(float(value) - float(after.outputs["value"])) > 0.005


def test_frobenius_is_the_norm_over_the_whole_batch() -> None:
    sr, hr = positive_features(3, 4, 5, 6)
    torch.testing.assert_close(
        on_features(sr, hr, criterion="frobenius"), torch.norm(sr - hr, p="fro")
    )


def test_srgan_scales_features_by_one_over_12_75_after_relu5_4() -> None:
    srgan: Any = losses.build("content", preset="srgan")
    assert (srgan.backbone, srgan.layers, srgan.criterion) == ("vgg19", ("relu5_4",), "l2")
    sr, hr = positive_features(2, 4, 5, 6)
    scaled = on_features(sr, hr, criterion="l2", feature_scale=1 / 12.75)
    torch.testing.assert_close(scaled * 12.75**2, ((sr - hr) ** 2).mean())


@pytest.mark.parametrize(
    ("preset", "layers", "criterion"),
    [("esrgan", {"conv5_4": 1.0}, "l1"), ("real-esrgan", FIVE, "l1")],
)
def test_presets_are_the_published_layers(
    preset: str, layers: dict[str, float], criterion: str
) -> None:
    loss: Any = losses.build("content", preset=preset)
    assert (loss.backbone, loss.weights, loss.criterion) == ("vgg19", layers, criterion)
    assert loss.source == losses.FeatureSource("vgg19")


def test_what_a_user_gives_is_kept_beside_a_preset() -> None:
    loss: Any = losses.build(
        "content", preset="srgan", layers=["conv4_4"], feature_scale=0.5, weights="mine.pth"
    )
    assert (loss.layers, loss.feature_scale) == (("conv4_4",), 0.5)
    assert (loss.criterion, loss.source.weights) == ("l2", "mine.pth")


@pytest.mark.parametrize("criterion", ["l1", "l2", "charbonnier"])
def test_summing_channels_multiplies_by_their_number(criterion: str) -> None:
    sr, hr = positive_features(2, 7, 5, 6)
    mean = on_features(sr, hr, criterion=criterion)
    summed = on_features(sr, hr, criterion=criterion, reduction="channel_sum")
    torch.testing.assert_close(summed, 7 * mean)


@pytest.mark.parametrize("criterion", ["frobenius", "survey", "pdl"])
def test_what_is_no_mean_over_channels_cannot_be_summed_over_them(criterion: str) -> None:
    with pytest.raises(losses.InvalidParameter, match=f"{criterion} is no mean over channels"):
        losses.build("content", criterion=criterion, reduction="channel_sum")


def test_charbonnier_is_eps_for_equal_features_and_l1_far_away() -> None:
    sr, hr = positive_features(2, 4, 5, 6)
    same = on_features(hr, hr, criterion="charbonnier", eps=1e-3)
    far = on_features(sr + 100, hr, criterion="charbonnier", eps=1e-3)
    assert float(same) == pytest.approx(1e-3)
    assert float(far) == pytest.approx(float((sr + 100 - hr).abs().mean()), rel=1e-6)


@pytest.mark.parametrize(("scaling", "factor"), [("unit_mean", 3.0), ("unit_norm", 3.0)])
def test_scaled_features_forget_how_large_they_were(scaling: str, factor: float) -> None:
    sr, hr = positive_features(2, 4, 5, 6)
    torch.testing.assert_close(
        on_features(sr, hr, scaling=scaling), on_features(factor * sr, factor * hr, scaling=scaling)
    )


def test_unit_length_features_of_dead_places_have_a_finite_gradient() -> None:
    sr = torch.zeros(1, 3, 4, 4, requires_grad=True)
    value = on_features(torch.relu(sr), torch.ones(1, 3, 4, 4), scaling="unit_norm", criterion="l2")
    (gradient,) = torch.autograd.grad(value, sr)
    assert torch.isfinite(gradient).all()


def test_pdl_sees_where_a_channel_is_and_not_how_strong_it_is() -> None:
    _, hr = positive_features(1, 2, 3, 4)
    assert float(on_features(5 * hr, hr, criterion="pdl")) == pytest.approx(0, abs=1e-12)
    assert float(on_features(hr.flip(-1), hr, criterion="pdl")) > 0.01


def test_content_follows_weights_layer_by_layer(narrow: Narrow) -> None:
    sr, hr = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    features = narrow("vgg16").compare(sr, hr, ["relu1_2", "relu2_2"])

    def content(layers: Any) -> float:
        return float(losses.build("content", layers=layers)(sr, hr, features=features))

    both = content({"relu1_2": 0.3, "relu2_2": 2.0})
    assert both == pytest.approx(0.3 * content(["relu1_2"]) + 2 * content(["relu2_2"]), rel=1e-5)


def test_lpips_preprocessing_shares_the_network_of_imagenets() -> None:
    sources = {
        name: losses.build("content", preprocessing=name).source for name in ("lpips", "imagenet")
    }
    assert sources["lpips"] == sources["imagenet"]
