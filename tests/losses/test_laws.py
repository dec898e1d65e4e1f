"""Laws that tie the losses to each other and to their conventions, for any images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import losses
from losses._features import Features
from losses._functional import UnsuitableInput
from losses.texture import gram, patches

# The first call of some torch functions imports for seconds; a deadline would measure the machine.
unhurried = settings(deadline=None, max_examples=50)


@st.composite
def image_pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Draw (SR, HR) float64 images of any small size; a drawn seed keeps shrinking cheap."""
    height, width = draw(st.integers(2, 20)), draw(st.integers(2, 20))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(1, 3)), 3, height, width)
    sr = torch.rand(shape, generator=generator, dtype=torch.float64)
    return sr, torch.rand(shape, generator=generator, dtype=torch.float64)


@unhurried
@given(image_pairs(), st.floats(1e-6, 0.5))
def test_charbonnier_lies_between_l1_and_l1_plus_eps(
    images: tuple[Tensor, Tensor], eps: float
) -> None:
    l1 = float(losses.build("l1")(*images))
    charbonnier = float(losses.build("charbonnier", eps=eps)(*images))
    assert l1 <= charbonnier <= l1 + eps


@unhurried
@given(image_pairs(), st.floats(0.1, 4))
def test_edge_is_linear_in_its_scale_for_l1_and_squared_for_l2(
    images: tuple[Tensor, Tensor], scale: float
) -> None:
    for criterion, power in (("l1", 1), ("l2", 2)):
        one = losses.build("edge", criterion=criterion, scale=1.0)(*images)
        scaled = losses.build("edge", criterion=criterion, scale=scale)(*images)
        torch.testing.assert_close(scaled, one * scale**power)


@unhurried
@given(image_pairs(), st.floats(-0.5, 0.5))
def test_a_brightness_shift_leaves_edges_and_variation_alone(
    images: tuple[Tensor, Tensor], shift: float
) -> None:
    sr, hr = images
    edge = losses.build("edge", padding="replicate")
    assert float(edge(hr + shift, hr)) == pytest.approx(0, abs=1e-12)
    for form in ("isotropic", "anisotropic", "squared"):
        tv = losses.build("tv", form=form)
        torch.testing.assert_close(tv(sr + shift, hr), tv(sr, hr))


@unhurried
@given(image_pairs())
def test_l1_of_a_tiled_image_is_the_l1_of_the_tile(images: tuple[Tensor, Tensor]) -> None:
    sr, hr = images
    l1 = losses.build("l1")
    torch.testing.assert_close(l1(sr.repeat(1, 1, 2, 3), hr.repeat(1, 1, 2, 3)), l1(sr, hr))


@unhurried
@given(image_pairs(), st.sampled_from(["l1", "l2", "huber", "charbonnier"]))
def test_a_weight_map_of_ones_changes_nothing_and_of_zeros_leaves_nothing(
    images: tuple[Tensor, Tensor], name: str
) -> None:
    sr, hr = images
    loss, ones = losses.build(name), torch.ones_like(sr[:, :1])
    torch.testing.assert_close(loss(sr, hr, weight=ones), loss(sr, hr))
    torch.testing.assert_close(loss(sr, hr, weight=ones.expand(sr.shape)), loss(sr, hr))
    assert float(loss(sr, hr, weight=ones * 0)) == 0


@unhurried
@given(image_pairs())
def test_a_sum_is_the_mean_times_the_count(images: tuple[Tensor, Tensor]) -> None:
    for name in ("l1", "l2", "huber", "charbonnier"):
        total = losses.build(name, reduction="sum")(*images)
        torch.testing.assert_close(total, losses.build(name)(*images) * images[0].numel())


@unhurried
@given(image_pairs(), st.floats(1e-3, 1.0))
def test_huber_lies_below_half_of_l2_and_delta_times_l1(
    images: tuple[Tensor, Tensor], delta: float
) -> None:
    half, slope = losses.build("l2")(*images) / 2, delta * losses.build("l1")(*images)
    huber = losses.build("huber", delta=delta)(*images)
    pseudo = losses.build("huber", delta=delta, form="pseudo")(*images)
    assert float(pseudo) <= float(huber) * (1 + 1e-9)
    assert float(huber) <= min(float(half), float(slope)) * (1 + 1e-9)
    torch.testing.assert_close(losses.build("huber", delta=1.0)(*images), half)


@unhurried
@given(image_pairs(), st.floats(1e-3, 1.0))
def test_shifted_charbonnier_is_the_survey_form_less_its_floor(
    images: tuple[Tensor, Tensor], eps: float
) -> None:
    shifted = losses.build("charbonnier", eps=eps, form="shifted")(*images)
    torch.testing.assert_close(shifted, losses.build("charbonnier", eps=eps)(*images) - eps)


@unhurried
@given(image_pairs())
def test_orthonormal_transforms_keep_the_energy_of_the_error(images: tuple[Tensor, Tensor]) -> None:
    sr, hr = (x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2] for x in images)
    energy = losses.build("l2")(sr, hr)
    bands = losses.build(
        "wavelet",
        family="db2",
        transform="decimated",
        criterion="l2",
        channels="rgb",
        bands=dict.fromkeys(("LL", "LH", "HL", "HH"), 0.25),
    )
    torch.testing.assert_close(bands(sr, hr), energy)
    flat = losses.build("focal_frequency", alpha=0.0)
    torch.testing.assert_close(flat(*images), losses.build("l2")(*images))


@unhurried
@given(image_pairs(), st.sampled_from(["valid", "reflect", "zero"]))
def test_structural_similarity_is_symmetric_and_bounded(
    images: tuple[Tensor, Tensor], padding: str
) -> None:
    sr, hr = images
    if min(sr.shape[-2:]) < 5:
        return
    ssim = losses.build("ssim", window=5, padding=padding)
    torch.testing.assert_close(ssim(sr, hr), ssim(hr, sr))
    assert 0 <= float(ssim(sr, hr)) <= 2
    one = losses.build("ms_ssim", window=5, padding=padding, scales=1)
    if float(one(sr, hr)) < 1:  # else a channel's similarity was negative, which the product cuts
        assert float(one(sr, hr)) <= float(ssim(sr, hr)) + 1e-6


@unhurried
@given(image_pairs(), st.floats(-0.4, 0.4))
def test_a_brightness_shift_leaves_all_bands_but_the_lowest_alone(
    images: tuple[Tensor, Tensor], shift: float
) -> None:
    _, hr = images
    detail = losses.build("wavelet", family="sym7", bands=["LH", "HL", "HH", "HH2"])
    assert float(detail(hr + shift, hr)) == pytest.approx(0, abs=1e-9)
    lowest = losses.build("wavelet", family="sym7", bands=["LL"], lowpass="unit_sum")
    assert float(lowest(hr + shift, hr)) == pytest.approx(abs(shift), abs=1e-6)


@unhurried
@given(image_pairs())
def test_gram_forgets_where_things_are(images: tuple[Tensor, Tensor]) -> None:
    sr, _ = images
    shuffled = sr.flatten(2).flip(-1).reshape(sr.shape)
    torch.testing.assert_close(gram(shuffled, "chw"), gram(sr, "chw"))


@unhurried
@given(image_pairs(), st.integers(1, 8))
def test_patches_hold_every_pixel_of_the_part_they_cover(
    images: tuple[Tensor, Tensor], side: int
) -> None:
    sr, _ = images
    rows, columns = sr.shape[-2] // side, sr.shape[-1] // side
    if rows == 0 or columns == 0:
        with pytest.raises(UnsuitableInput, match=r"texture\.patch is"):
            patches(sr, side)
        return
    tiles = patches(sr, side)
    assert tiles.shape == (sr.shape[0] * rows * columns, 3, side, side)
    torch.testing.assert_close(tiles[0], sr[0, :, :side, :side])
    torch.testing.assert_close(tiles.sum(), sr[..., : rows * side, : columns * side].sum())


def test_patchwise_texture_sees_what_whole_map_texture_cannot() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(1, 4, 8, 8, generator=generator)
    right = torch.rand(1, 4, 8, 8, generator=generator) * 3
    sr = Features(
        {"relu2_2": torch.cat([left, right], -1)}, {"relu2_2": torch.cat([right, left], -1)}
    )
    images = torch.rand(1, 3, 16, 32)
    assert float(losses.build("texture")(images, images, features=sr)) == pytest.approx(0, abs=1e-6)
    assert float(losses.build("texture", patch=8)(images, images, features=sr)) > 1e-3
