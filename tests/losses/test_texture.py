"""Texture loss: peers' values, and what each normalisation and distance of Gram matrices is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import losses
from losses import Features
from losses.texture import gram

FEATURE_CASES: dict[str, dict[str, Any]] = {
    "style_l1_chw": {"criterion": "l1"},
    "texture_survey": {"normalization": "survey"},
    "texture_patch8_chw": {"criterion": "l2", "patch": 8},
    "texture_enhancenet_patch16": {
        "criterion": "l2",
        "normalization": "none",
        "patch": 16,
        "scaling": "unit_mean",
    },
}


def texture(sr: Tensor, hr: Tensor, **settings: Any) -> Tensor:
    """Return the loss of one layer's features."""
    loss = losses.build("texture", layers=["relu1_1"], **settings)
    images = torch.full((sr.shape[0], 3, 8, 8), 0.5)
    value: Tensor = loss(images, images, features=Features({"relu1_1": sr}, {"relu1_1": hr}))
    return value


def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sr, hr = (torch.randn((3, 4, 6, 5), generator=generator, dtype=torch.float64) for _ in range(2))
    return sr, hr


@pytest.mark.parametrize("case_id", FEATURE_CASES)
def test_distances_of_gram_matrices_equal_the_peers(
    case: Callable[[str], Any], case_id: str
) -> None:
    known = case(case_id)
    sr = known.inputs["sr"].requires_grad_()
    value = texture(sr, known.inputs["hr"], **FEATURE_CASES[case_id])
    known.assert_value(value)
    known.assert_gradient(torch.autograd.grad(value, sr)[0], "sr")


def test_gram_matrix_equals_basicsr(case: Callable[[str], Any]) -> None:
    known = case("gram_basicsr")
    known.assert_value(gram(known.inputs["sr"], "chw"))


def test_survey_by_normalization_is_survey_by_criterion_on_unnormalised_matrices() -> None:
    sr, hr = features()
    by_parts = texture(sr, hr, normalization="none", criterion="survey")
    torch.testing.assert_close(texture(sr, hr, normalization="survey"), by_parts)
    assert not torch.isclose(texture(sr, hr, normalization="none"), by_parts)


def test_johnsons_loss_is_the_squared_frobenius_norm_per_image() -> None:
    sr, hr = features()
    difference = gram(sr, "chw") - gram(hr, "chw")
    known = torch.linalg.matrix_norm(difference).square().mean()
    torch.testing.assert_close(texture(sr, hr, criterion="squared_frobenius"), known)


def test_frobenius_is_the_norm_over_the_whole_batch() -> None:
    sr, hr = features()
    known = torch.norm(gram(sr, "chw") - gram(hr, "chw"), p="fro")
    torch.testing.assert_close(texture(sr, hr, criterion="frobenius"), known)


def test_a_patch_as_large_as_the_map_is_the_whole_map() -> None:
    sr, hr = (x[..., :5, :] for x in features())
    torch.testing.assert_close(texture(sr, hr, patch=5), texture(sr, hr))


def test_a_patch_larger_than_the_map_is_refused_with_the_remedy() -> None:
    with pytest.raises(losses.UnsuitableInput, match=r"texture\.patch is 7, .* only 6×5; lower"):
        texture(*features(), patch=7)


@pytest.mark.parametrize("normalization", ["chw", "survey"])
def test_survey_grows_with_the_area_of_patches_and_chw_does_not(normalization: str) -> None:
    generator = torch.Generator().manual_seed(2)
    sr, hr = (torch.rand((1, 4, 64, 64), generator=generator) + i for i in range(2))
    ratio = float(texture(sr, hr, normalization=normalization, patch=64)) / float(
        texture(sr, hr, normalization=normalization, patch=8)
    )
    assert ratio == pytest.approx({"chw": 1, "survey": 64}[normalization], rel=0.05)
