"""Our losses give the values and gradients that other people's code gave for the same convention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import losses
from losses._features import FeatureNetwork, Features
from losses.texture import gram

IMAGE_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "l1_mean": ("l1", {}),
    "charbonnier_survey_mean": ("charbonnier", {"eps": 1e-3}),
    "charbonnier_eps_added_1e-3": ("charbonnier", {"eps": 1e-3, "form": "added"}),
    "charbonnier_identical": ("charbonnier", {"eps": 1e-3}),
    "tv_survey_isotropic": ("tv", {"form": "isotropic", "eps": 1e-9}),
    "tv_basicsr_aniso_mean": ("tv", {"form": "anisotropic"}),
    "edge_sobel_mse_luma": ("edge", {"criterion": "l2", "channels": "luma", "scale": 0.25}),
}

FEATURE_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "content_mse": ("content", {"criterion": "l2"}),
    "content_survey": ("content", {"criterion": "survey"}),
    "style_l1_chw": ("texture", {"criterion": "l1"}),
    "texture_survey": ("texture", {"criterion": "survey", "normalization": "none"}),
    "texture_patch8_chw": ("texture", {"criterion": "l2", "patch": 8}),
    "texture_enhancenet_patch16": (
        "texture",
        {"criterion": "l2", "normalization": "none", "patch": 16, "scaling": "unit_mean"},
    ),
}

REAL_ESRGAN_LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}
VGG_CASES: dict[str, dict[str, float]] = {
    "percep_esrgan_conv5_4_l1": {"conv5_4": 1.0},
    "percep_relu5_4_l1": {"relu5_4": 1.0},
    "percep_realesrgan_l1": REAL_ESRGAN_LAYERS,
}

GAN_KINDS = {"vanilla": "vanilla", "lsgan": "lsgan", "hinge": "hinge", "ragan": "relativistic"}


@pytest.mark.parametrize("case_id", IMAGE_CASES)
def test_image_losses_equal_the_peers(case: Callable[[str], Any], case_id: str) -> None:
    name, parameters = IMAGE_CASES[case_id]
    known = case(case_id)
    sr = known.inputs["sr"].requires_grad_()
    value = losses.build(name, **parameters)(sr, known.inputs.get("hr", sr.detach()))
    value.backward()
    known.assert_value(value)
    known.assert_gradient(sr.grad, "sr")


def test_plain_sobel_on_one_channel_equals_mmagic(case: Callable[[str], Any]) -> None:
    known = case("gradient_sobel_l1_1ch")
    sr = known.inputs["sr"].requires_grad_()
    loss = losses.build("edge", channels="rgb", scale=1.0, directions="sum")
    value = loss(sr[:, :1], known.inputs["hr"][:, :1])
    value.backward()
    known.assert_value(value)
    known.assert_gradient(sr.grad, "sr")


@pytest.mark.parametrize("case_id", FEATURE_CASES)
def test_feature_losses_equal_the_peers(case: Callable[[str], Any], case_id: str) -> None:
    name, parameters = FEATURE_CASES[case_id]
    known = case(case_id)
    sr = known.inputs["sr"].requires_grad_()
    features = Features(sr={"relu1_1": sr}, hr={"relu1_1": known.inputs["hr"]})
    loss = losses.build(name, backbone="vgg19", layers=["relu1_1"], **parameters)
    value = loss(sr, known.inputs["hr"], features=features)
    value.backward()
    known.assert_value(value)
    known.assert_gradient(sr.grad, "sr")


def test_gram_matrix_equals_basicsr(case: Callable[[str], Any]) -> None:
    known = case("gram_basicsr")
    known.assert_value(gram(known.inputs["sr"], "chw"))


@pytest.mark.parametrize("case_id", VGG_CASES)
def test_perceptual_loss_through_vgg19_equals_basicsr(
    case: Callable[[str], Any], narrow_vgg19: FeatureNetwork, case_id: str
) -> None:
    known = case(case_id)
    sr, hr = known.inputs["sr"].requires_grad_(), known.inputs["hr"]
    loss = losses.build("content", backbone="vgg19", layers=VGG_CASES[case_id], criterion="l1")
    value = loss(sr, hr, features=narrow_vgg19.compare(sr, hr, VGG_CASES[case_id]))
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


@pytest.mark.parametrize(("stored", "kind"), GAN_KINDS.items())
def test_generator_side_equals_basicsr(case: Callable[[str], Any], stored: str, kind: str) -> None:
    known = case(f"gan_{stored}_g_patch")
    fake = known.inputs["fake"].requires_grad_()
    real = known.inputs.get("real", fake.detach())
    value = losses.build("adversarial", kind=kind)(fake, real, discriminator=nn.Identity())
    value.backward()
    known.assert_value(value)
    known.assert_gradient(fake.grad, "fake")


class _Shifted(nn.Module):
    """Takes logits for images; the gradient of `shift` is the gradient by the logits."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros_like(like))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.shift


@pytest.mark.parametrize(("stored", "kind"), GAN_KINDS.items())
def test_discriminator_side_equals_basicsr(
    case: Callable[[str], Any], stored: str, kind: str
) -> None:
    known = case(f"gan_{stored}_d_patch")
    real, fake = known.inputs["real"], known.inputs["fake"]
    discriminator = _Shifted(torch.cat([real, fake]))
    loss = losses.build("adversarial", kind=kind)
    value = loss.discriminator_loss(fake, real, discriminator)  # type: ignore[operator]  # nn.Module types attributes as Tensor | Module
    value.backward()
    known.assert_value(value)
    assert discriminator.shift.grad is not None
    by_real, by_fake = discriminator.shift.grad.chunk(2)
    known.assert_gradient(by_real, "real")
    known.assert_gradient(by_fake, "fake")


def test_a_weighted_sum_has_the_values_gradients_and_shares_of_the_reference(
    case: Callable[[str], Any], narrow_vgg19: FeatureNetwork
) -> None:
    known = case("composite_esrgan_like")
    sr, hr = known.inputs["sr"].requires_grad_(), known.inputs["hr"]
    features = narrow_vgg19.compare(sr, hr, ["conv5_4"])
    weights = {"pixel": 0.01, "perceptual": 1.0, "tv": 0.002}
    parts = {
        "pixel": losses.build("l1")(sr, hr),
        "perceptual": losses.build("content", backbone="vgg19", layers=["conv5_4"])(
            sr, hr, features=features
        ),
        "tv": losses.build("tv", form="anisotropic")(sr, hr),
    }
    gradients = {
        name: weights[name] * torch.autograd.grad(part, sr, retain_graph=True)[0]
        for name, part in parts.items()
    }
    norms = {name: gradient.norm() for name, gradient in gradients.items()}
    known.assert_gradient(torch.stack(list(gradients.values())).sum(dim=0), "sr")
    for name in weights:
        known.assert_value(parts[name], f"raw_{name}")
        known.assert_value(norms[name], f"gradnorm_{name}")
        known.assert_value(norms[name] / sum(norms.values()), f"share_{name}")
