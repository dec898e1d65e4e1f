"""The adversarial game on logits has the values and gradients of the code it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from losses import InvalidParameter, UnsuitableInput
from losses.adversarial import (
    Adversarial,
    Game,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"
EXTRA = {c["id"]: c for c in json.loads((VECTORS / "extra/adversarial.json").read_text())["cases"]}

BOTH_LABELS = {"real_label": 0.9, "fake_label": 0.1, "smoothed": "both"}
HR_LABEL = {"real_label": 0.9}
#: Our name of each convention that the peers computed, for the generator and the discriminator.
PEERS: dict[str, dict[str, Any]] = {
    "basicsr_wgan": {"kind": "wgan"},
    "basicsr_softplus": {"kind": "vanilla"},
    "basicsr_vanilla_smooth": {"kind": "vanilla", **BOTH_LABELS},
    "basicsr_lsgan_smooth": {"kind": "lsgan", **BOTH_LABELS},
    "neosr_huber": {"kind": "huber"},
    "mmagic_l1": {"kind": "l1"},
    "basicsr_ralsgan": {"kind": "relativistic_lsgan", "targets": "basicsr"},
    "kair_ragan": {"kind": "relativistic", "average": "position"},
    "opensr_ragan_smooth": {
        "kind": "relativistic",
        "halve": "generator",
        "detach_means": False,
        **HR_LABEL,
    },
    "opensr_bce_smooth": {"kind": "vanilla", "halve": "discriminator", **HR_LABEL},
}
STORED = {"vanilla": "vanilla", "lsgan": "lsgan", "hinge": "hinge", "ragan": "relativistic"}

Read = Callable[[str], Any]


def logits() -> tuple[Tensor, Tensor]:
    with np.load(VECTORS / "logits.npz") as stored:
        fake, real = (torch.from_numpy(stored[x].astype(np.float64)) for x in ("fake", "real"))
    return fake.requires_grad_(), real.requires_grad_()


def assert_equals(case_id: str, value: Tensor, **by: Tensor) -> None:
    known = EXTRA[case_id]
    assert float(value.detach()) == pytest.approx(known["value"], rel=1e-9)
    gradients = torch.autograd.grad(value, list(by.values()))
    for name, gradient in zip(by, gradients, strict=True):
        wanted = torch.tensor(known[f"grad_{name}"], dtype=torch.float64).view(gradient.shape)
        torch.testing.assert_close(gradient, wanted, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("stored", "kind"), STORED.items())
def test_generator_side_equals_basicsr(case: Read, stored: str, kind: Any) -> None:
    known = case(f"gan_{stored}_g_patch")
    fake = known.inputs["fake"].requires_grad_()
    value = generator_loss(kind, fake, known.inputs.get("real"))
    torch.autograd.backward(value)
    known.assert_value(value)
    known.assert_gradient(fake.grad, "fake")


@pytest.mark.parametrize(("stored", "kind"), STORED.items())
def test_discriminator_side_equals_basicsr(case: Read, stored: str, kind: Any) -> None:
    known = case(f"gan_{stored}_d_patch")
    fake, real = (known.inputs[name].requires_grad_() for name in ("fake", "real"))
    value = discriminator_loss(kind, fake, real)
    torch.autograd.backward(value)
    known.assert_value(value)
    known.assert_gradient(real.grad, "real")
    known.assert_gradient(fake.grad, "fake")


def test_every_class_counts_alike_however_many_images_it_has(case: Read) -> None:
    known = case("gan_multiclass_g")
    fake = known.inputs["fake"].requires_grad_()
    value = generator_loss("vanilla", fake, labels=torch.tensor([0, 1, 0, 1]))
    torch.autograd.backward(value)
    known.assert_value(value)
    known.assert_gradient(fake.grad, "fake")
    alone = [generator_loss("vanilla", fake[rows]) for rows in ([0, 1, 2], [3])]
    uneven = generator_loss("vanilla", fake, labels=torch.tensor([7, 7, 7, 2]))
    torch.testing.assert_close(uneven, alone[0] + alone[1])


@pytest.mark.parametrize("name", PEERS)
def test_other_conventions_equal_the_peers_that_have_them(name: str) -> None:
    fake, real = logits()
    game = Game(**PEERS[name])
    if f"{name}_g" in EXTRA:
        assert_equals(f"{name}_g", game.generator(fake, real), fake=fake)
    assert_equals(f"{name}_d", game.discriminator(fake, real), fake=fake, real=real)


def test_every_stored_convention_is_reachable() -> None:
    ours = {f"{name}_{side}" for name in PEERS for side in "gd"} | set(PENALTIES)
    assert set(EXTRA) <= ours


def test_relativistic_least_squares_of_the_paper_aims_at_plus_and_minus_one() -> None:
    fake, real = logits()
    game = Game("relativistic_lsgan", halve="none")
    wanted = (fake - real.mean() - 1).square().mean() + (real - fake.mean() + 1).square().mean()
    torch.testing.assert_close(game.generator(fake, real), wanted)
    opposite = (real - fake.mean() - 1).square().mean() + (fake - real.mean() + 1).square().mean()
    torch.testing.assert_close(game.discriminator(fake, real), opposite)


@pytest.mark.parametrize("kind", ["vanilla", "lsgan", "hinge", "wgan", "relativistic"])
def test_halving_halves_exactly_the_side_it_names(kind: Any) -> None:
    fake, real = logits()
    whole = Game(kind, halve="none")
    sides = (whole.generator(fake, real), whole.discriminator(fake, real))
    shares: dict[Any, tuple[float, float]] = {
        "generator": (0.5, 1.0),
        "discriminator": (1.0, 0.5),
        "both": (0.5, 0.5),
        "usual": (0.5, 0.5) if kind == "relativistic" else (1.0, 1.0),
    }
    for halve, (of_generator, of_discriminator) in shares.items():
        game = Game(kind, halve=halve)
        torch.testing.assert_close(game.generator(fake, real), sides[0] * of_generator)
        torch.testing.assert_close(game.discriminator(fake, real), sides[1] * of_discriminator)


def test_labels_of_the_discriminator_alone_leave_the_generator_as_it_was() -> None:
    fake, real = logits()
    for kind in ("vanilla", "lsgan", "relativistic", "relativistic_lsgan"):
        plain, smooth = Game(kind), Game(kind, real_label=0.9, fake_label=0.1)
        assert torch.equal(plain.generator(fake, real), smooth.generator(fake, real))
        assert not torch.equal(plain.discriminator(fake, real), smooth.discriminator(fake, real))


@pytest.mark.parametrize("kind", ["hinge", "wgan"])
def test_a_game_without_labels_cannot_be_smoothed(kind: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{kind} game compares no logit with a label"):
        Adversarial(kind=kind, real_label=0.9)  # type: ignore[arg-type]  # a plain str on purpose


def test_a_relativistic_generator_asks_for_the_logits_of_hr() -> None:
    fake, _ = logits()
    with pytest.raises(UnsuitableInput, match="needs the logits of HR"):
        generator_loss("relativistic", fake)


def test_logits_of_different_shapes_are_refused() -> None:
    with pytest.raises(UnsuitableInput, match=r"\(2, 1\) and of HR \(3, 1\)"):
        discriminator_loss("vanilla", torch.zeros(2, 1), torch.zeros(3, 1))


@given(shift=st.floats(-5, 5), size=st.integers(1, 4))
def test_relativistic_games_see_only_differences_of_logits(shift: float, size: int) -> None:
    draw = torch.Generator().manual_seed(size)
    fake, real = torch.randn(2, size, 1, 2, 2, generator=draw, dtype=torch.float64)
    for kind in ("relativistic", "relativistic_lsgan"):
        for average in ("global", "position"):
            game = Game(kind, average=average)
            for side in (game.generator, game.discriminator):
                torch.testing.assert_close(side(fake + shift, real + shift), side(fake, real))


def test_hinge_stops_pulling_at_logits_that_are_clear_enough() -> None:
    fake, real = torch.tensor([[-1.5]]), torch.tensor([[1.5]])
    assert float(discriminator_loss("hinge", fake, real)) == 0


def test_half_precision_logits_are_summed_in_float32() -> None:
    fake, real = (x.detach().bfloat16() for x in logits())
    for kind in ("vanilla", "hinge", "relativistic_lsgan"):
        assert generator_loss(kind, fake, real).dtype is torch.float32


class _Judge:
    """The two convolutions the stored penalties belong to."""

    def __init__(self) -> None:
        with np.load(VECTORS / "disc.npz") as stored:
            found = {k: torch.from_numpy(stored[k].astype(np.float64)) for k in stored}
        self.w1, self.w2 = found["w1"].requires_grad_(), found["w2"].requires_grad_()
        self.alpha = found["alpha"]

    def __call__(self, x: Tensor) -> Tensor:
        features = F.leaky_relu(F.conv2d(x, self.w1, padding=1), 0.2)
        judged: Tensor = F.conv2d(features, self.w2, padding=1)
        return judged


def images() -> tuple[Tensor, Tensor]:
    with np.load(VECTORS / "images.npz") as stored:
        sr, hr = (torch.from_numpy(stored[name].astype(np.float64)) for name in ("sr", "hr"))
    return sr, hr


PENALTIES: dict[str, dict[str, Any]] = {
    "basicsr_gp": {"norm": "pixel"},
    "mmagic_gp_pixel": {"norm": "pixel"},
    "mmagic_gp_HWC": {"norm": "sample"},
    "mmagic_r1_pixel": {"norm": "pixel"},
    "mmagic_r1_HWC": {"norm": "sample"},
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_equal_the_peers(name: str) -> None:
    (sr, hr), judge = images(), _Judge()
    if "_r1_" in name:
        hr.requires_grad_()
        value = r1_penalty(judge(hr), hr, **PENALTIES[name])
    else:
        value = gradient_penalty(judge, hr, sr, alpha=judge.alpha, **PENALTIES[name])
    assert_equals(name, value, w1=judge.w1, w2=judge.w2)


def test_r1_equals_basicsr(case: Read) -> None:
    known = case("r1_penalty")
    hr, w1, w2 = (known.inputs[name].requires_grad_() for name in ("hr", "w1", "w2"))
    judged = F.conv2d(F.leaky_relu(F.conv2d(hr, w1, padding=1), 0.2), w2, padding=1)
    value = r1_penalty(judged, hr)
    torch.autograd.backward(value)
    known.assert_value(value)
    known.assert_gradient(w1.grad, "w1")
    known.assert_gradient(w2.grad, "w2")


def test_a_slope_of_one_between_hr_and_sr_costs_nothing() -> None:
    sr, hr = images()
    direction = torch.ones_like(hr[:1]) / hr[0].numel() ** 0.5

    def steady(x: Tensor) -> Tensor:
        along: Tensor = (x * direction).flatten(1).sum(dim=1, keepdim=True)
        return along

    alpha = torch.full((len(hr), 1, 1, 1), 0.3, dtype=torch.float64)
    assert float(gradient_penalty(steady, hr, sr, alpha=alpha)) == pytest.approx(0, abs=1e-12)
    twice = gradient_penalty(lambda x: 2 * steady(x), hr, sr, alpha=alpha)
    assert float(twice) == pytest.approx(1)
