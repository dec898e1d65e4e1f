"""Gradient norms and shares."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from service.contract.study import Data, Term
from tests.workers.tiny_training import Narrow
from workers import models
from workers.calibration import CalibrationFailed, combine, gradients, measure, norm, shares
from workers.criterion import Criterion, criterion, modules
from workers.data.pairs import Batch
from workers.suppliers import Networks, Step, companions, seeded

TERMS = [
    Term(loss="l1"),
    Term(loss="adversarial", parameters={"channels": 4, "depth": 2}),
    Term(loss="edge"),
]
WEIGHTS = {"l1": 1.0, "adversarial": 0.1, "edge": 3.0}


class Scale(nn.Module):
    """SR = a·LR + b, whose gradients one can write down."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(2.0))
        self.b = nn.Parameter(torch.tensor(1.0))

    def forward(self, lr: Tensor) -> Tensor:
        return self.a * lr + self.b


class Sum(nn.Module):
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return sr.sum()


class Endless(nn.Module):
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (sr * torch.inf).sum()


def gan() -> tuple[nn.Module, Criterion]:
    built = modules(TERMS, Data(train=["a"], validation=["b"]))
    total = criterion(
        TERMS,
        built,
        weights=WEIGHTS,
        networks=Networks(Narrow(), "cpu"),
        companions=companions(built, 0),
    )
    return seeded(lambda: models.build("espcn", scale=2), 0), total


def batches(count: int) -> list[Batch]:
    random = torch.Generator().manual_seed(0)
    hrs = [torch.rand(2, 3, 32, 32, generator=random) for _ in range(count)]
    return [Batch(nn.functional.avg_pool2d(hr, 2), hr) for hr in hrs]


def test_norm_is_that_of_the_gradient_written_down_by_hand() -> None:
    lr = torch.arange(6.0).reshape(1, 1, 2, 3)
    both = [Batch(lr, lr), Batch(2 * lr, lr)]
    found = measure(Scale(), Criterion({"sum": Sum()}, {"sum": 1.0}), both)
    # d/da = Σ lr, d/db = 6
    assert found.norms["sum"] == pytest.approx((math.hypot(15, 6) + math.hypot(30, 6)) / 2)
    assert found.values["sum"] == pytest.approx((36 + 66) / 2)
    assert found.batches == 2


def test_measuring_changes_neither_generator_nor_discriminator() -> None:
    generator, total = gan()
    batch = batches(1)[0]
    given = total.given(Step(batch, batch.hr))
    discriminator = given["adversarial"]["discriminator"]
    assert isinstance(discriminator, nn.Module)
    before = [t.clone() for m in (generator, discriminator) for t in m.state_dict().values()]
    measure(generator, total, batches(2))
    after = [t for m in (generator, discriminator) for t in m.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(p.grad is None for p in [*generator.parameters(), *discriminator.parameters()])


def test_gradients_of_the_terms_add_up_to_the_gradient_of_the_total() -> None:
    generator, total = gan()
    batch = batches(1)[0]
    parameters = list(generator.parameters())
    step = Step(batch, generator(batch.lr))
    parts = total.parts(step, total.given(step))
    combine(gradients(parts, parameters), WEIGHTS, parameters)
    summed = [parameter.grad for parameter in parameters]
    straight = torch.autograd.grad(total.total(parts), parameters)
    for one, other in zip(summed, straight, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert norm(straight) > 0


def test_infinite_gradient_is_an_error_that_names_the_term() -> None:
    total = Criterion({"endless": Endless()}, {"endless": 1.0})
    with pytest.raises(CalibrationFailed, match="gradient of endless"):
        measure(Scale(), total, [Batch(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))])


positive = st.floats(min_value=1e-6, max_value=1e6)


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(positive, positive), min_size=1))
def test_shares_add_up_to_one_whatever_the_scale(terms: dict[str, tuple[float, float]]) -> None:
    weights = {key: weight for key, (weight, _) in terms.items()}
    norms = {key: size for key, (_, size) in terms.items()}
    found = shares(weights, norms)
    assert sum(found.values()) == pytest.approx(1.0)
    doubled = shares({key: 2 * weight for key, weight in weights.items()}, norms)
    assert found == pytest.approx(doubled)


def test_share_of_a_term_without_weight_is_zero() -> None:
    assert shares({"a": 1.0}, {"a": 2.0, "b": 3.0}) == {"a": 1.0, "b": 0.0}
    assert shares({"a": 1.0}, {"a": 0.0}) == {"a": 0.0}
