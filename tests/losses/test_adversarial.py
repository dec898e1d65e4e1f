"""The adversarial loss trains against a discriminator without surprising whoever owns it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import losses
from losses import UnsuitableInput
from losses.adversarial import Adversarial, discriminator_loss, generator_loss

Pair = Callable[..., tuple[Tensor, Tensor]]
KINDS = ["vanilla", "relativistic", "lsgan", "hinge", "wgan", "relativistic_lsgan"]


def seeded_discriminator(seed: int = 1, **parameters: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Adversarial(channels=8, **parameters).build_discriminator()


def buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def step(
    discriminator: nn.Module, optimiser: torch.optim.Optimizer, sr: Tensor, hr: Tensor
) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(Adversarial().discriminator_loss(sr, hr, discriminator))
    optimiser.step()


@pytest.mark.parametrize("kind", KINDS)
def test_the_generators_pass_leaves_the_discriminator_as_it_was(kind: Any, pair: Pair) -> None:
    sr, hr = pair()
    discriminator = seeded_discriminator()
    before = {name: tensor.clone() for name, tensor in discriminator.state_dict().items()}
    Adversarial(kind=kind)(sr.requires_grad_(), hr, discriminator=discriminator).backward()
    assert sr.grad is not None
    assert sr.grad.norm() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert discriminator.training
    for name, tensor in discriminator.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminators_loss_gives_the_generator_no_gradient(kind: Any, pair: Pair) -> None:
    sr, hr = pair()
    sr.requires_grad_()
    discriminator = seeded_discriminator()
    torch.autograd.backward(Adversarial(kind=kind).discriminator_loss(sr * 1, hr, discriminator))
    assert sr.grad is None
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_the_discriminators_loss_moves_the_spectral_norm_once(pair: Pair) -> None:
    sr, hr = pair()
    once, twice = seeded_discriminator(), seeded_discriminator()
    twice.load_state_dict(once.state_dict())
    Adversarial().discriminator_loss(sr, hr, once)
    twice(hr)  # one pass in training mode is one step of the power iteration
    assert buffers(once)
    fresh = buffers(seeded_discriminator())
    for name, buffer in buffers(once).items():
        assert torch.equal(buffer, buffers(twice)[name]), name
        assert not torch.equal(buffer, fresh[name]), name


def test_a_discriminator_resumed_from_its_state_dict_goes_on_bit_for_bit(pair: Pair) -> None:
    sr, hr = pair()
    first = seeded_discriminator()
    optimiser = torch.optim.Adam(first.parameters(), lr=1e-3)
    for _ in range(3):
        step(first, optimiser, sr, hr)
    second = seeded_discriminator(seed=2)
    second.load_state_dict(first.state_dict())
    resumed = torch.optim.Adam(second.parameters(), lr=1e-3)
    # Without the copy both optimisers would share their moments.
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for _ in range(3):
        step(first, optimiser, sr, hr)
        step(second, resumed, sr, hr)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_training_the_discriminator_lowers_its_loss_and_raises_the_generators(pair: Pair) -> None:
    sr, hr = pair(n=4)
    discriminator = seeded_discriminator()
    loss = Adversarial()
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=5e-3)
    before = float(loss.discriminator_loss(sr, hr, discriminator).detach())
    generator_before = float(loss(sr, hr, discriminator=discriminator))
    for _ in range(40):
        step(discriminator, optimiser, sr, hr)
    assert float(loss.discriminator_loss(sr, hr, discriminator).detach()) < 0.8 * before
    assert float(loss(sr, hr, discriminator=discriminator)) > generator_before


def test_the_seed_alone_decides_the_discriminator() -> None:
    one, same, other = (seeded_discriminator(seed) for seed in (1, 1, 2))
    weights = [torch.cat([p.flatten() for p in d.parameters()]) for d in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_relativistic_value_depends_on_the_batch_as_documented(pair: Pair) -> None:
    sr, hr = pair(n=2)
    sr = sr * torch.tensor([1.0, 0.2]).view(2, 1, 1, 1)
    loss = Adversarial(kind="relativistic")
    # Brightness as the verdict: logits of the two images that are far apart.
    judge = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 1, 1, bias=False))
    nn.init.constant_(judge[1].weight, 5.0)  # type: ignore[arg-type]  # a layer's weight, mypy sees a union
    together = loss(sr, hr, discriminator=judge)
    alone = [loss(sr[i : i + 1], hr[i : i + 1], discriminator=judge) for i in range(2)]
    assert abs(float(together) - float(torch.stack(alone).mean())) > 1e-3


def test_both_sides_judge_as_the_discriminator_alone_would(pair: Pair) -> None:
    sr, hr = pair()
    discriminator = seeded_discriminator(spectral_norm=False)
    fake, real = discriminator(sr), discriminator(hr)
    for kind in KINDS:
        loss = Adversarial(kind=kind)  # type: ignore[arg-type]  # a list of plain strings
        torch.testing.assert_close(
            loss(sr, hr, discriminator=discriminator), loss.game.generator(fake, real)
        )
        torch.testing.assert_close(
            loss.discriminator_loss(sr, hr, discriminator), loss.game.discriminator(fake, real)
        )


def test_r1_adds_half_gamma_times_the_squared_slope_at_hr(pair: Pair) -> None:
    sr, hr = pair(dtype=torch.float64)
    discriminator = seeded_discriminator(spectral_norm=False).double()
    plain = Adversarial().discriminator_loss(sr, hr, discriminator)
    wanted = 0.0
    for image in [hr[:1], hr[1:]]:
        leaf = image.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(leaf).sum(), leaf)
        wanted += float(slope.square().sum()) / len(hr)
    with_r1 = Adversarial(r1=10.0).discriminator_loss(sr, hr, discriminator)
    assert float((with_r1 - plain).detach()) == pytest.approx(10.0 / 2 * wanted)
    assert hr.grad is None
    assert not hr.requires_grad
    pixel = Adversarial(r1=10.0, penalty_norm="pixel").discriminator_loss(sr, hr, discriminator)
    per_image = hr.shape[-2] * hr.shape[-1]
    assert float((pixel - plain).detach()) == pytest.approx(10.0 / 2 * wanted / per_image)


@pytest.mark.parametrize("penalty", [{"r1": 5.0}, {"gradient_penalty": 10.0}], ids=str)
def test_a_penalty_flattens_the_discriminator_it_trains(
    penalty: dict[str, float], pair: Pair
) -> None:
    sr, hr = pair(n=4)

    def slope_after(**parameters: float) -> float:
        discriminator = seeded_discriminator(spectral_norm=False)
        loss = Adversarial(kind="wgan", **parameters)  # type: ignore[arg-type]  # floats are what these two take
        optimiser = torch.optim.Adam(discriminator.parameters(), lr=5e-3)
        for number in range(15):
            optimiser.zero_grad()
            torch.autograd.backward(loss.discriminator_loss(sr, hr, discriminator, step=number))
            optimiser.step()
        leaf = hr.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(leaf).sum(), leaf)
        return float(slope.norm())

    assert slope_after(**penalty) < 0.5 * slope_after()


def test_the_gradient_penalty_is_decided_by_the_step_alone(pair: Pair) -> None:
    sr, hr = pair()
    loss = Adversarial(gradient_penalty=10.0)
    assert losses.needs_of(loss) == ("discriminator", "step")
    discriminator = seeded_discriminator(spectral_norm=False)
    torch.manual_seed(0)
    first = loss.discriminator_loss(sr, hr, discriminator, step=7)
    torch.manual_seed(1)
    assert torch.equal(loss.discriminator_loss(sr, hr, discriminator, step=7), first)
    assert not torch.equal(loss.discriminator_loss(sr, hr, discriminator, step=8), first)
    with pytest.raises(UnsuitableInput, match="hand over step"):
        loss.discriminator_loss(sr, hr, discriminator)


@pytest.mark.parametrize("form", ["patch", "image", "unet", "features"])
@pytest.mark.parametrize(
    "more", [{}, {"classes": 2}, {"norm": "batch"}, {"r1": 1.0, "gradient_penalty": 1.0}], ids=str
)
def test_every_discriminator_plays_both_sides(
    form: Any, more: dict[str, Any], pair: Pair, supply: Any
) -> None:
    sr, hr = pair(n=3, size=16)
    sr.requires_grad_()
    loss = Adversarial(kind="relativistic", discriminator=form, channels=4, **more)
    given = supply(loss, sr, hr)
    discriminator = given.pop("discriminator")
    before = {name: tensor.clone() for name, tensor in discriminator.state_dict().items()}
    (gradient,) = torch.autograd.grad(loss(sr, hr, discriminator=discriminator, **given), sr)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    real, fake = loss.verdicts(sr, hr, discriminator, **given)
    assert real.shape == fake.shape
    assert not real.requires_grad
    for name, tensor in discriminator.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    torch.autograd.backward(loss.discriminator_loss(sr, hr, discriminator, **given))
    assert sr.grad is None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in discriminator.parameters())


def test_features_are_judged_where_the_layer_is(pair: Pair, supply: Any) -> None:
    sr, hr = pair()
    loss = Adversarial(
        discriminator="features", backbone="vgg19", layer="conv3_4", weights="my.pth"
    )
    assert losses.needs_of(loss) == ("discriminator", "features")
    assert loss.layers == ("conv3_4",)
    assert loss.source == losses.FeatureSource("vgg19", "my.pth")
    with pytest.raises(UnsuitableInput, match=r"needs those of conv3_4; hand over features"):
        loss(sr, hr, discriminator=loss.build_discriminator())
    with pytest.raises(
        losses.InvalidParameter, match=r"adversarial.layer: vgg16 has no layer 'conv3_5'"
    ):
        Adversarial(discriminator="features", layer="conv3_5")


def test_with_classes_each_image_is_judged_by_the_discriminator_of_its_class(pair: Pair) -> None:
    sr, hr = pair(n=3)
    loss = Adversarial(classes=2, channels=8)
    assert losses.needs_of(loss) == ("discriminator", "labels")
    judges = seeded_discriminator(classes=2).eval()
    labels = torch.tensor([1, 0, 1])
    one: Any = judges.judges
    wanted = generator_loss("vanilla", one[1](sr[[0, 2]])) + generator_loss(
        "vanilla", one[0](sr[[1]])
    )
    torch.testing.assert_close(loss(sr, hr, discriminator=judges, labels=labels), wanted)
    of_d = discriminator_loss("vanilla", one[1](sr[[0, 2]]), one[1](hr[[0, 2]]))
    of_d = of_d + discriminator_loss("vanilla", one[0](sr[[1]]), one[0](hr[[1]]))
    torch.testing.assert_close(loss.discriminator_loss(sr, hr, judges, labels=labels), of_d)


def test_a_class_absent_from_the_batch_adds_nothing_and_its_discriminator_rests(pair: Pair) -> None:
    sr, hr = pair(n=2)
    loss = Adversarial(classes=3, channels=8)
    judges: Any = seeded_discriminator(classes=3)
    rested = {name: t.clone() for name, t in judges.judges[1].state_dict().items()}
    value = loss.discriminator_loss(sr, hr, judges, labels=torch.tensor([2, 0]))
    torch.autograd.backward(value)
    assert all(parameter.grad is None for parameter in judges.judges[1].parameters())
    for name, tensor in judges.judges[1].state_dict().items():
        assert torch.equal(tensor, rested[name]), name
    without = loss(sr, hr, discriminator=judges, labels=torch.tensor([0, 0]))
    alone = Adversarial()(sr, hr, discriminator=judges.judges[0])
    torch.testing.assert_close(without, alone)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (None, "needs labels, one per image"),
        (torch.tensor([0, 1, 0]), r"shape \(3,\), but must be whole numbers of shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), "torch.float32"),
        (torch.tensor([0, 2]), "reach from 0 to 2, but 2 classes are numbered 0 to 1"),
        (torch.tensor([-1, 0]), "reach from -1 to 0"),
    ],
)
def test_labels_that_name_no_class_are_refused(
    labels: Tensor | None, sentence: str, pair: Pair
) -> None:
    sr, hr = pair()
    judges = seeded_discriminator(classes=2)
    with pytest.raises(UnsuitableInput, match=sentence):
        Adversarial(classes=2)(sr, hr, discriminator=judges, labels=labels)


def test_a_crop_belongs_to_the_image_level_discriminator() -> None:
    with pytest.raises(losses.InvalidParameter, match=r"adversarial.crop is 32, but only .* image"):
        Adversarial(discriminator="unet", crop=32)
