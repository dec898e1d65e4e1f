"""Conventions that are easy to get nearly right: numbers of peers' code, and what their options mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import losses
from losses import InvalidParameter, UnsuitableInput
from losses._features import FeatureNetwork
from losses.adversarial import Game

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"
KNOWN = {c["id"]: c for c in json.loads((VECTORS / "extra/further.json").read_text())["cases"]}


def stored(file: str, *names: str) -> list[Tensor]:
    with np.load(VECTORS / f"{file}.npz") as arrays:
        return [torch.from_numpy(arrays[x].astype(np.float64)).requires_grad_() for x in names]


def assert_known(case: str, value: Tensor, **by: Tensor) -> None:
    known = KNOWN[case]
    assert float(value.detach()) == pytest.approx(known["value"], rel=1e-9)
    for name, gradient in zip(by, torch.autograd.grad(value, list(by.values())), strict=True):
        wanted = torch.tensor(known[f"grad_{name}"], dtype=torch.float64)
        step = 253 if name == "sr" else 1
        torch.testing.assert_close(gradient.flatten()[::step], wanted, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("name", "case"), [("content", "content_fro"), ("texture", "style_fro")])
def test_frobenius_norms_run_over_the_batch_as_in_basicsr(
    name: str, case: str, narrow_vgg19: FeatureNetwork
) -> None:
    sr, hr = stored("images64", "sr", "hr")
    layers = ["conv1_2", "conv3_4"]
    loss = losses.build(name, backbone="vgg19", layers=layers, criterion="frobenius")
    value = loss(sr, hr, features=narrow_vgg19.compare(sr, hr.detach(), layers))
    assert_known(case, value, sr=sr)


VECTOR_GAMES: dict[str, dict[str, Any]] = {
    "vec_esrgan_vanilla": {"kind": "relativistic"},
    "vec_esrgan_lsgan": {"kind": "relativistic_lsgan", "targets": "basicsr"},
    "vec_kair_ragan": {"kind": "relativistic", "average": "position"},
}


@pytest.mark.parametrize("name", VECTOR_GAMES)
def test_relativistic_games_on_one_logit_an_image_equal_the_peers(name: str) -> None:
    fake, real = stored("logits", "fake_vec", "real_vec")
    game = Game(**VECTOR_GAMES[name])
    assert_known(f"{name}_g", game.generator(fake, real), fake=fake)
    assert_known(f"{name}_d", game.discriminator(fake, real), fake=fake, real=real)


def test_discriminators_of_uneven_classes_are_summed_class_by_class() -> None:
    fake, real = stored("logits", "fake", "real")
    value = Game("vanilla").discriminator(fake, real, torch.tensor([0, 1, 0, 0]))
    assert_known("multiclass_d", value, fake=fake, real=real)


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier", "huber"])
def test_sample_wise_means_weigh_every_image_alike(name: str) -> None:
    sr, hr, weight = (x.detach() for x in stored("images", "sr", "hr", "wmap1"))
    loss = losses.build(name, sample_wise=True)
    assert torch.equal(loss(sr, hr), losses.build(name)(sr, hr))
    alone = [loss(sr[i : i + 1], hr[i : i + 1], weight=weight[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(loss(sr, hr, weight=weight), torch.stack(alone).mean())
    # Under one map for all, twice as heavy for one image, only the plain mean leans to that image.
    uneven = weight * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(loss(sr, hr, weight=uneven), loss(sr, hr, weight=weight))
    plain = losses.build(name)
    assert not torch.isclose(plain(sr, hr, weight=uneven), plain(sr, hr, weight=weight), rtol=1e-6)


def test_an_image_that_is_masked_out_whole_counts_as_zero() -> None:
    sr, hr = stored("images", "sr", "hr")
    mask = torch.ones(2, 1, 32, 32, dtype=torch.float64)
    mask[1] = 0
    value = losses.build("l1", sample_wise=True)(sr, hr, weight=mask)
    (gradient,) = torch.autograd.grad(value, sr)
    assert float(value.detach()) == pytest.approx(float((sr[0] - hr[0]).detach().abs().mean()) / 2)
    assert gradient[1].abs().max() == 0
    assert torch.isfinite(gradient).all()


@given(off=st.floats(-0.0039, 0.0039))
def test_clipped_charbonnier_has_neosrs_dead_zone(off: float) -> None:
    chc = losses.build("charbonnier", eps=1e-6, clip_min=0.003921, clip_max=0.996078)
    hr = torch.full((1, 3, 4, 4), 0.5)
    sr = (hr + off).requires_grad_()
    value = chc(sr, hr)
    assert float(value.detach()) == pytest.approx(0.003921)
    assert torch.autograd.grad(value, sr)[0].abs().max() == 0
    beyond = (hr + 0.01).requires_grad_()
    assert torch.autograd.grad(chc(beyond, hr), beyond)[0].abs().min() > 0


def test_a_clip_that_leaves_no_error_between_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"clip_max is 0.1, but must be above clip_min, 0.2"):
        losses.build("charbonnier", clip_min=0.2, clip_max=0.1)


def slope_of_one_block(scale: int) -> Tensor:
    """Return how much each HR pixel around one LR pixel weighs, without antialiasing."""
    loss = losses.build("lr_consistency", scale=scale, target="hr", antialias=False)
    hr = torch.zeros(1, 1, 4 * scale, 4 * scale, dtype=torch.float64)
    sr = torch.full_like(hr, 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(sr, hr), sr)
    return (gradient * 16)[0, 0, scale : 2 * scale, scale : 2 * scale]


def test_without_antialiasing_four_of_sixteen_pixels_matter_at_x4_and_one_of_nine_at_x3() -> None:
    four = slope_of_one_block(4)
    assert four[1:3, 1:3].flatten().tolist() == pytest.approx([0.59375**2] * 4)
    four[1:3, 1:3] = 0
    assert 0.008 < float(four[four != 0].abs().min()) < float(four.abs().max()) < 0.06
    assert int((four != 0).sum()) == 12
    three = slope_of_one_block(3)
    assert int((three.abs() > 1e-12).sum()) == 1
    assert float(three[1, 1]) == pytest.approx(1)


def test_sum_of_spectra_is_their_mean_times_the_numbers_of_the_half_plane() -> None:
    sr, hr = (x.detach() for x in stored("images", "sr", "hr"))
    numbers = {"l1": 2, "l2": 2, "magnitude": 1}
    for criterion, parts in numbers.items():
        mean, total = (
            losses.build("fft", criterion=criterion, reduction=r)(sr, hr) for r in ("mean", "sum")
        )
        torch.testing.assert_close(total, mean * 2 * 3 * 32 * 17 * parts)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
@pytest.mark.parametrize(("side", "same"), [(176, "valid"), (10, "zero")])
def test_images_smaller_than_the_window_get_a_black_border(
    name: str, side: int, same: Literal["valid", "zero"]
) -> None:
    sr, hr = (x.detach()[..., :side, :side] for x in stored("images_large", "sr", "hr"))
    either, one = (losses.build(name, padding=p)(sr, hr) for p in ("valid_or_zero", same))
    torch.testing.assert_close(either, one)


def test_clipping_windows_forgives_contrast_turned_upside_down() -> None:
    (hr,) = (x.detach() for x in stored("images64", "hr"))
    inverted = 1 - hr
    kept, cut = (losses.build("ssim", clipped=c)(inverted, hr) for c in (False, True))
    assert float(kept) > float(cut) > 0
    assert float(cut) <= 1
    flat = losses.build("ms_ssim", scales=2, clip="window", luminance=False)
    assert float(flat(inverted, hr)) == pytest.approx(1, abs=0.05)


def test_without_luminance_a_brighter_image_costs_nothing_at_one_scale() -> None:
    sr, hr = (x.detach() for x in stored("images64", "sr", "hr"))
    loss = losses.build("ms_ssim", scales=1, luminance=False)
    torch.testing.assert_close(loss(sr + 0.1, hr), loss(sr, hr))
    seen = losses.build("ms_ssim", scales=1)
    assert float(seen(sr + 0.1, hr)) > float(seen(sr, hr)) + 0.01


def test_interleaved_windows_need_three_channels() -> None:
    with pytest.raises(UnsuitableInput, match="need 3 channels"):
        losses.build("ms_ssim_l1", windows="interleaved")(*torch.rand(2, 1, 1, 16, 16))


def test_a_huber_game_is_half_of_lsgan_near_its_labels_and_linear_beyond() -> None:
    near = torch.tensor([[0.4], [1.7]])
    torch.testing.assert_close(Game("huber").generator(near), Game("lsgan").generator(near) / 2)
    far = torch.tensor([[-3.0], [-5.0]])
    torch.testing.assert_close(Game("huber").generator(far), Game("l1").generator(far) - 0.5)
