"""What every registered loss must do; a new loss file is tested by existing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import losses
from losses import LossSpec, UnsuitableInput


class Setting(NamedTuple):
    """A loss with its parameters."""

    spec: LossSpec
    parameters: dict[str, Any]

    def build(self) -> nn.Module:
        return losses.build(self.spec.name, **self.parameters)

    @property
    def side(self) -> int:
        """The least side of images that this loss can look at, at least 16 px."""
        if self.spec.name == "ms_ssim":
            return 176
        return 32 if self.parameters.get("backbone") == "squeezenet1_1" else 16

    def __str__(self) -> str:
        chosen = {k: v for k, v in self.parameters.items() if k not in ("scale", "weights")}
        return "-".join([self.spec.name, *(f"{key}={value}" for key, value in chosen.items())])


def default(spec: LossSpec) -> Setting:
    # The trainer fills a scale of 0 from the study's data.
    known = {p.name for p in spec.parameters if p.name == "scale" and p.default == 0}
    return Setting(spec, dict.fromkeys(known, 2))


#: What a choice cannot do without.
WITH = {"network=fan": {"weights": "fan.pth"}}


def settings() -> list[Setting]:
    """Every loss as it is by default, and with every name its parameters accept, one at a time."""
    found = []
    for spec in losses.SPECS.values():
        plain = default(spec)
        found.append(plain)
        for parameter in spec.parameters:
            found += [
                Setting(
                    spec,
                    plain.parameters
                    | {parameter.name: choice}
                    | WITH.get(f"{parameter.name}={choice}", {}),
                )
                for choice in parameter.choices
                if choice != parameter.default
            ]
    return found


def ids(setting: object) -> str:
    return str(setting)


every_loss = pytest.mark.parametrize("spec", losses.SPECS.values(), ids=lambda spec: spec.name)
every_setting = pytest.mark.parametrize("setting", settings(), ids=ids)
every_comparison = pytest.mark.parametrize(
    "setting", [setting for setting in settings() if setting.spec.compares], ids=ids
)

#: Values for equal images that are documented not to be 0, by loss and setting.
FLOORS = {
    "charbonnier": 1e-3,
    "charbonnier-form=added": 1e-3**0.5,
    "charbonnier-form=shifted": 0.0,
    "charbonnier-reduction=sum": 1e-3 * 2 * 3 * 16 * 16,
    "vmaf_neg": 0.02572,
    "vmaf_neg-luma=bt709": 0.02572,
}
#: That of a loss whose criterion is Charbonnier's with the peers' eps, per term that is summed.
CHARBONNIER = 1e-6

Pair = Callable[..., tuple[Tensor, Tensor]]
Supplier = Callable[[nn.Module, Tensor, Tensor], dict[str, Any]]
Value = Callable[[Setting, Tensor, Tensor], Tensor]


def floor(setting: Setting) -> float:
    if setting.parameters.get("criterion") == "charbonnier":
        return CHARBONNIER * (2 if setting.spec.name == "gradient_variance" else 1)
    return float(FLOORS.get(str(setting), 0.0))


@pytest.fixture
def value_of(supply: Supplier) -> Value:
    """Return a function that builds a loss, supplies it, and evaluates it."""

    def value(setting: Setting, sr: Tensor, hr: Tensor) -> Tensor:
        loss = setting.build()
        result: Tensor = loss(sr, hr, **supply(loss, sr, hr))
        return result

    return value


@every_loss
def test_is_described_well_enough_for_a_catalogue(spec: LossSpec) -> None:
    assert len(spec.summary) > 20
    assert 0 <= spec.share[0] < spec.share[1] <= 1
    assert {*spec.needs, *spec.may_need} <= set(losses.NEEDS)
    assert all(parameter.description for parameter in spec.parameters)
    said = " ".join((spec.module.__doc__ or "").split())
    assert "[0, 1]" in said, "the range of images"
    assert "(N, " in said, "the shape of images"
    assert any(str(year) in said for year in range(1950, 2027)), "the paper"


@every_setting
def test_needs_what_its_signature_offers(setting: Setting) -> None:
    spec = setting.spec
    assert set(spec.needs) <= set(losses.needs_of(setting.build())) <= {*spec.needs, *spec.may_need}


@every_comparison
def test_is_least_for_equal_images(setting: Setting, pair: Pair, value_of: Value) -> None:
    sr, hr = pair(size=setting.side, dtype=torch.float64)
    equal = hr.clone().requires_grad_()
    least = value_of(setting, equal, hr)
    (gradient,) = torch.autograd.grad(least, equal)
    assert float(least.detach()) == pytest.approx(floor(setting), rel=1e-4, abs=1e-9)
    assert float(value_of(setting, sr, hr)) > float(least.detach())
    assert torch.isfinite(gradient).all()


@every_comparison
def test_grows_as_sr_moves_away_from_hr(setting: Setting, pair: Pair, value_of: Value) -> None:
    sr, hr = pair(size=setting.side)
    values = [float(value_of(setting, hr + far * (sr - hr), hr)) for far in (0.25, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    assert values[0] < values[-1]


@every_setting
def test_value_is_a_finite_scalar_and_the_same_twice(
    setting: Setting, pair: Pair, value_of: Value
) -> None:
    sr, hr = pair(size=setting.side)
    first, second = value_of(setting, sr, hr), value_of(setting, sr, hr)
    assert first.shape == ()
    assert torch.isfinite(first)
    assert torch.equal(first, second)
    if setting.spec.nonnegative:
        assert float(first) >= 0


@every_setting
def test_gradient_reaches_every_image_and_agrees_with_finite_differences(
    setting: Setting, pair: Pair, supply: Supplier
) -> None:
    sr, hr = pair(n=2, size=setting.side, dtype=torch.float64)
    loss = setting.build()
    # SR's running average is no part of the derivative: it comes from another network.
    fixed = {n: v for n, v in supply(loss, sr, hr).items() if n not in ("features", "faces")}

    def value(images: Tensor) -> Tensor:
        moving = {n: v for n, v in supply(loss, images, hr).items() if n not in fixed}
        result: Tensor = loss(images, hr, **fixed, **moving)
        return result

    sr.requires_grad_()
    (gradient,) = torch.autograd.grad(value(sr), sr)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert torch.autograd.gradcheck(value, (sr,), eps=1e-7, atol=1e-6, rtol=1e-4, fast_mode=True)


@every_setting
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradient_is_finite_on_flat_images(setting: Setting, level: float, value_of: Value) -> None:
    shape = (1, 3, setting.side, setting.side)
    sr = torch.full(shape, level, requires_grad=True)
    (gradient,) = torch.autograd.grad(value_of(setting, sr, torch.zeros(shape)), sr)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "spec", [s for s in losses.SPECS.values() if s.batch_mean], ids=lambda spec: spec.name
)
def test_a_batch_is_worth_the_mean_of_its_images(
    spec: LossSpec, pair: Pair, supply: Supplier
) -> None:
    setting = default(spec)
    sr, hr = pair(n=3, size=default(spec).side)
    loss = setting.build()
    given = supply(loss, sr, hr)
    networks = {name: given[name] for name in losses.TRAINED if name in given}
    alone = [
        loss(a, b, **supply(loss, a, b) | networks)
        for a, b in zip(sr.chunk(3), hr.chunk(3), strict=True)
    ]
    torch.testing.assert_close(
        loss(sr, hr, **given), torch.stack(alone).mean(), rtol=1e-5, atol=1e-7
    )


@every_setting
def test_bfloat16_autocast_changes_little_and_the_value_stays_float32(
    setting: Setting, pair: Pair, value_of: Value
) -> None:
    sr, hr = pair(size=max(32, setting.side))
    exact = value_of(setting, sr, hr)
    sr.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = value_of(setting, sr, hr)
    (gradient,) = torch.autograd.grad(rough, sr)
    assert rough.dtype is torch.float32
    torch.testing.assert_close(rough.detach(), exact, rtol=0.05, atol=1e-3)
    assert torch.isfinite(gradient).all()


@every_loss
def test_half_precision_images_are_summed_in_float32(
    spec: LossSpec, pair: Pair, value_of: Value
) -> None:
    setting = default(spec)
    sr, hr = pair(size=max(32, default(spec).side))
    value = value_of(setting, sr.bfloat16(), hr.bfloat16())
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, value_of(setting, sr, hr), rtol=0.1, atol=0.02)


@every_loss
@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 8)),
        (torch.rand(1, 3, 16, 16), torch.rand(2, 3, 16, 16)),
        (torch.rand(3, 16, 16), torch.rand(3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)),
        (torch.rand(0, 3, 16, 16), torch.rand(0, 3, 16, 16)),
        (torch.rand(1, 3, 16, 16) * 255, torch.rand(1, 3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16) * 255),
        (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16) * 2 - 1),
        (torch.full((1, 3, 16, 16), torch.nan), torch.rand(1, 3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.full((1, 3, 16, 16), torch.inf)),
    ],
    ids=[
        "other width",
        "other batch",
        "no batch",
        "bytes",
        "empty",
        "SR 0..255",
        "HR 0..255",
        "HR -1..1",
        "NaN",
        "infinity",
    ],
)
def test_images_that_do_not_match_are_refused(spec: LossSpec, sr: Tensor, hr: Tensor) -> None:
    loss = default(spec).build()
    given = dict.fromkeys(losses.needs_of(loss))
    with pytest.raises(UnsuitableInput, match=r"SR|HR"):
        loss(sr, hr, **given)


@every_loss
def test_values_are_not_looked_at_in_a_trusting_loop(spec: LossSpec, value_of: Value) -> None:
    size = default(spec).side
    sr, hr = torch.rand(1, 3, size, size) * 40, torch.rand(1, 3, size, size)
    with losses.trusted():
        assert value_of(default(spec), sr, hr).shape == ()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_setting
def test_cuda_gives_what_the_cpu_gives(setting: Setting, pair: Pair, value_of: Value) -> None:
    sr, hr = pair(size=max(32, setting.side))
    values, gradients = [], []
    for device in ("cpu", "cuda"):
        images = sr.to(device, torch.float64).requires_grad_()
        value = value_of(setting, images, hr.to(device, torch.float64))
        gradients.append(torch.autograd.grad(value, images)[0].cpu())
        values.append(value.detach().cpu())
    torch.testing.assert_close(values[1], values[0], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-10)
