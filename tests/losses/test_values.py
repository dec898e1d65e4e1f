"""Our losses give the values and gradients that other people's code gave for the same convention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import losses
from losses._features import FeatureNetwork
from losses.ldl import artefact_map

IMAGE_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "l1_mean": ("l1", {}),
    "l2_mean": ("l2", {}),
    "l1_weightmap_1ch": ("l1", {}),
    "charbonnier_survey_mean": ("charbonnier", {"eps": 1e-3}),
    "charbonnier_eps_added_1e-3": ("charbonnier", {"eps": 1e-3, "form": "added"}),
    "charbonnier_identical": ("charbonnier", {"eps": 1e-3}),
    "tv_survey_isotropic": ("tv", {"form": "isotropic", "eps": 1e-9}),
    "tv_basicsr_aniso_mean": ("tv", {"form": "anisotropic"}),
    "tv_piq_l1": ("tv", {"form": "anisotropic", "reduction": "image_sum"}),
    "edge_sobel_mse_luma": ("edge", {"criterion": "l2", "channels": "luma", "scale": 0.25}),
    "fft_l1_rfft2_unnorm": ("fft", {"norm": "backward"}),
    "ldl_basicsr": ("ldl", {}),
    "ssim_loss_kornia_valid": ("ssim", {"halved": True}),
}

#: These stored the similarity itself; ours is 1 minus it.
SIMILARITY_CASES = {"ssim_piq": "ssim", "msssim_pytorch_msssim": "ms_ssim"}

#: What the stored cases call a tensor, and what we do.
KEYWORDS = {"w": "weight", "ema": "averaged"}


def as_stored(known: Any, sr: Tensor) -> Tensor:
    """Return SR's gradient in the precision it was stored in: float32 for large images."""
    assert sr.grad is not None
    return sr.grad.to(known.outputs["grad_sr"].dtype)


@pytest.mark.parametrize("case_id", IMAGE_CASES)
def test_image_losses_equal_the_peers(case: Callable[[str], Any], case_id: str) -> None:
    name, parameters = IMAGE_CASES[case_id]
    known = case(case_id)
    sr = known.inputs["sr"].requires_grad_()
    given = {KEYWORDS[key]: x for key, x in known.inputs.items() if key in KEYWORDS}
    value = losses.build(name, **parameters)(sr, known.inputs.get("hr", sr.detach()), **given)
    value.backward()
    known.assert_value(value)
    known.assert_gradient(as_stored(known, sr), "sr")


@pytest.mark.parametrize("case_id", SIMILARITY_CASES)
def test_structural_losses_are_one_minus_the_peers(
    case: Callable[[str], Any], case_id: str
) -> None:
    known = case(case_id)
    sr = known.inputs["sr"].requires_grad_()
    similarity = 1 - losses.build(SIMILARITY_CASES[case_id])(sr, known.inputs["hr"])
    similarity.backward()
    known.assert_value(similarity)
    known.assert_gradient(as_stored(known, sr), "sr")


def test_the_artefact_map_equals_basicsr(case: Callable[[str], Any]) -> None:
    known = case("ldl_basicsr")
    given = known.inputs
    known.assert_value(artefact_map(given["sr"], given["hr"], given["ema"]), "map")


def test_plain_sobel_on_one_channel_equals_mmagic(case: Callable[[str], Any]) -> None:
    known = case("gradient_sobel_l1_1ch")
    sr = known.inputs["sr"].requires_grad_()
    loss = losses.build("edge", channels="rgb", scale=1.0, directions="sum")
    value = loss(sr[:, :1], known.inputs["hr"][:, :1])
    value.backward()
    known.assert_value(value)
    known.assert_gradient(sr.grad, "sr")


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
