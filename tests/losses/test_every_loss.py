"""What every registered loss must do; a new loss file is tested by existing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import losses
from losses import LossSpec
from losses._functional import UnsuitableInput

every_loss = pytest.mark.parametrize("spec", losses.SPECS.values(), ids=lambda spec: spec.name)
every_comparison = pytest.mark.parametrize(
    "spec",
    [spec for spec in losses.SPECS.values() if spec.compares],
    ids=lambda spec: spec.name,
)

#: Values for equal images that are documented not to be 0.
FLOORS = {"charbonnier": 1e-3}

#: Suppliers the trainer has; a loss with another need could never be trained.
SUPPLIED = {"features", "discriminator"}

Pair = Callable[..., tuple[Tensor, Tensor]]
Supplier = Callable[[nn.Module, tuple[str, ...], Tensor, Tensor], dict[str, Any]]


@pytest.fixture
def value_of(supply: Supplier) -> Callable[[LossSpec, Tensor, Tensor], Tensor]:
    """Return a function that builds a loss with its defaults, supplies it, and evaluates it."""

    def value(spec: LossSpec, sr: Tensor, hr: Tensor) -> Tensor:
        loss = losses.build(spec.name)
        result: Tensor = loss(sr, hr, **supply(loss, spec.needs, sr, hr))
        return result

    return value


@every_loss
def test_is_described_well_enough_for_a_catalogue(spec: LossSpec) -> None:
    assert len(spec.summary) > 20
    assert 0 <= spec.share[0] < spec.share[1] <= 1
    assert set(spec.needs) <= SUPPLIED
    assert all(parameter.description for parameter in spec.parameters)


@every_comparison
def test_is_least_for_equal_images(spec: LossSpec, pair: Pair, value_of: Any) -> None:
    sr, hr = pair()
    equal = hr.clone().requires_grad_()
    least = value_of(spec, equal, hr)
    (gradient,) = torch.autograd.grad(least, equal)
    assert float(least.detach()) == pytest.approx(FLOORS.get(spec.name, 0.0), abs=1e-7)
    assert float(value_of(spec, sr, hr)) > float(least.detach())
    assert torch.isfinite(gradient).all()


@every_comparison
def test_grows_as_sr_moves_away_from_hr(spec: LossSpec, pair: Pair, value_of: Any) -> None:
    sr, hr = pair()
    values = [float(value_of(spec, hr + step * (sr - hr), hr)) for step in (0.25, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    assert values[0] < values[-1]


@every_loss
def test_value_is_a_finite_scalar_and_the_same_twice(
    spec: LossSpec, pair: Pair, value_of: Any
) -> None:
    sr, hr = pair()
    first, second = value_of(spec, sr, hr), value_of(spec, sr, hr)
    assert first.shape == ()
    assert torch.isfinite(first)
    assert torch.equal(first, second)


@every_loss
def test_gradient_reaches_every_image_and_agrees_with_finite_differences(
    spec: LossSpec, pair: Pair, supply: Supplier
) -> None:
    sr, hr = pair(n=2, size=8, dtype=torch.float64)
    loss = losses.build(spec.name)

    def value(images: Tensor) -> Tensor:
        result: Tensor = loss(images, hr, **supply(loss, spec.needs, images, hr))
        return result

    sr.requires_grad_()
    (gradient,) = torch.autograd.grad(value(sr), sr)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert torch.autograd.gradcheck(value, (sr,), eps=1e-7, atol=1e-6, rtol=1e-4, fast_mode=True)


@every_loss
def test_gradient_is_finite_on_flat_images(spec: LossSpec, value_of: Any) -> None:
    sr = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(value_of(spec, sr, torch.zeros(1, 3, 16, 16)), sr)
    assert torch.isfinite(gradient).all()


@every_loss
def test_a_batch_is_worth_the_mean_of_its_images(spec: LossSpec, pair: Pair, value_of: Any) -> None:
    sr, hr = pair(n=3)
    alone = [value_of(spec, sr[i : i + 1], hr[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(
        value_of(spec, sr, hr), torch.stack(alone).mean(), rtol=1e-5, atol=1e-7
    )


@every_loss
def test_bfloat16_autocast_changes_little_and_the_value_stays_float32(
    spec: LossSpec, pair: Pair, value_of: Any
) -> None:
    sr, hr = pair(size=32)
    exact = value_of(spec, sr, hr)
    sr.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = value_of(spec, sr, hr)
    (gradient,) = torch.autograd.grad(rough, sr)
    assert rough.dtype is torch.float32
    torch.testing.assert_close(rough.detach(), exact, rtol=0.05, atol=1e-3)
    assert torch.isfinite(gradient).all()


@every_loss
def test_half_precision_images_are_summed_in_float32(
    spec: LossSpec, pair: Pair, value_of: Any
) -> None:
    sr, hr = pair(size=32)
    value = value_of(spec, sr.bfloat16(), hr.bfloat16())
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, value_of(spec, sr, hr), rtol=0.1, atol=0.02)


@every_loss
@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 8)),
        (torch.rand(1, 3, 16, 16), torch.rand(2, 3, 16, 16)),
        (torch.rand(3, 16, 16), torch.rand(3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)),
        (torch.rand(0, 3, 16, 16), torch.rand(0, 3, 16, 16)),
    ],
    ids=["other width", "other batch", "no batch", "bytes", "empty"],
)
def test_images_that_do_not_match_are_refused(spec: LossSpec, sr: Tensor, hr: Tensor) -> None:
    given = dict.fromkeys(spec.needs)
    with pytest.raises(UnsuitableInput, match="SR"):
        losses.build(spec.name)(sr, hr, **given)
