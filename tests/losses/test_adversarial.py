"""The adversarial loss trains against a discriminator without surprising whoever owns it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput
from losses.adversarial import Adversarial

Pair = Callable[..., tuple[Tensor, Tensor]]
KINDS = ["vanilla", "relativistic", "lsgan", "hinge"]


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


def test_logits_of_an_image_do_not_depend_on_its_batch(pair: Pair) -> None:
    images, _ = pair(n=3)
    discriminator = seeded_discriminator().eval()
    torch.testing.assert_close(discriminator(images)[1:2], discriminator(images[1:2]))


def test_spectral_norm_bounds_the_inner_layers_and_can_be_left_out() -> None:
    discriminator = seeded_discriminator()
    weights = [m.weight for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert len(weights) == 5
    for weight in weights[1:-1]:
        assert torch.linalg.matrix_norm(weight.flatten(1), ord=2) < 1.2
    assert not buffers(seeded_discriminator(spectral_norm=False))


@pytest.mark.parametrize("depth", [1, 3])
def test_there_is_one_logit_per_patch(depth: int) -> None:
    logits = seeded_discriminator(depth=depth)(torch.rand(2, 3, 32, 48))
    assert logits.shape == (2, 1, 32 // 2**depth, 48 // 2**depth)


def test_an_image_smaller_than_the_halvings_is_refused_with_a_remedy() -> None:
    with pytest.raises(
        UnsuitableInput, match=r"3 halvings needs images of at least 8 px.*lower depth"
    ):
        seeded_discriminator()(torch.rand(1, 3, 4, 16))


def test_relativistic_value_depends_on_the_batch_as_documented() -> None:
    real, fake = torch.tensor([0.0, 4.0]), torch.tensor([0.0, -2.0])
    real, fake = real.view(2, 1, 1, 1), fake.view(2, 1, 1, 1)
    loss, judge = Adversarial(kind="relativistic"), nn.Identity()
    together = loss(fake, real, discriminator=judge)
    alone = [loss(fake[i : i + 1], real[i : i + 1], discriminator=judge) for i in range(2)]
    assert abs(float(together) - float(torch.stack(alone).mean())) > 0.1
