"""Separable filters are the same as matrices and as convolutions, at every border."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from losses import _windows
from losses._functional import UnsuitableInput
from losses._windows import Outside, Taps, box, filtered, gaussian, window

OUTSIDE: list[Outside] = ["valid", "reflect", "zero", "circular"]
KERNEL = (0.1, -0.4, 0.9, 0.25, 0.15)


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("side", [12, 15])
def test_large_and_small_images_are_filtered_alike(
    outside: Outside, stride: int, dilation: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = 0 if outside == "valid" else 2 * dilation
    taps = [
        Taps(KERNEL, outside, before, stride, dilation),
        Taps(KERNEL[::-1], outside, before, stride, dilation),
    ]
    images = torch.rand(2, 3, side, side + 3, dtype=torch.float64, requires_grad=True)
    by_matrix = filtered(images, taps, taps[:1])
    monkeypatch.setattr(_windows, "_LARGEST_MATRIX", 1)
    by_convolution = filtered(images, taps, taps[:1])
    torch.testing.assert_close(by_matrix, by_convolution)
    probe = torch.rand_like(by_matrix)
    one, other = (
        torch.autograd.grad((x * probe).sum(), images)[0] for x in (by_matrix, by_convolution)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("outside", ["valid", "reflect", "zero"])
def test_a_window_is_the_two_dimensional_convolution_of_its_taps(outside: Outside) -> None:
    taps = gaussian(5, 1.1)
    images = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    kernel = torch.outer(torch.tensor(taps).double(), torch.tensor(taps).double())
    modes = {"valid": 0, "reflect": 2, "zero": 2}
    padded = F.pad(
        images, (modes[outside],) * 4, mode="reflect" if outside == "reflect" else "constant"
    )
    wanted = F.conv2d(padded, kernel.expand(3, 1, 5, 5), groups=3)
    torch.testing.assert_close(
        filtered(images, [window(taps, outside)], [window(taps, outside)]),
        wanted,
        rtol=1e-6,
        atol=1e-7,
    )


def test_a_filter_longer_than_the_image_wraps_around_more_than_once() -> None:
    taps = Taps((1.0,) * 7, "circular", before=3)
    image = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    # Seven taps over three pixels: each twice, and the one under the middle tap once more.
    identity = Taps((1.0,), "circular")
    torch.testing.assert_close(filtered(image, [identity], [taps]), 14 + image)


def test_windows_sum_to_one_and_gaussians_peak_in_the_middle() -> None:
    assert sum(box(7)) == pytest.approx(1)
    taps = gaussian(11, 1.5)
    assert sum(taps) == pytest.approx(1)
    assert max(taps) == taps[5]
    assert taps == pytest.approx(taps[::-1])


def test_filters_keep_full_precision_under_autocast() -> None:
    images = torch.rand(1, 3, 16, 16)
    taps = [window(gaussian(5, 1.0), "reflect")]
    exact = filtered(images, taps, taps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(filtered(images, taps, taps), exact, rtol=0, atol=0)


def test_a_matrix_made_in_inference_mode_takes_part_in_training_later() -> None:
    taps = [window(gaussian(7, 0.77), "zero")]
    with torch.inference_mode():
        filtered(torch.rand(1, 1, 9, 9), taps, taps)
    images = torch.rand(1, 1, 9, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(filtered(images, taps, taps).sum(), images)
    assert (gradient > 0).all()


def test_images_smaller_than_a_window_are_refused_with_the_least_side() -> None:
    with pytest.raises(UnsuitableInput, match=r"10×30 px, but must be at least 11; enlarge"):
        _windows.require_side(torch.zeros(1, 1, 10, 30), 11, "enlarge")
