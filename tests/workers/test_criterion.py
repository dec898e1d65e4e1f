"""The weighted sum: what is computed, how often, and what is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import losses
from losses._features import FeatureNetwork
from service.contract.study import Term
from tests.workers.tiny_training import narrow_network
from workers.criterion import Criterion, criterion, modules
from workers.suppliers import DefinitionError, Networks, discriminators

TERMS = [
    Term(loss="l1"),
    Term(loss="content", parameters={"backbone": "vgg19", "layers": ["relu2_2"]}),
    Term(loss="texture", parameters={"backbone": "vgg19", "layers": ["relu1_2"]}),
    Term(loss="adversarial", parameters={"channels": 4, "depth": 2}),
]


def total_of(weights: dict[str, float], networks: Networks | None = None) -> Criterion:
    live = [term for term in TERMS if weights.get(term.key)]
    built = modules(live)
    return criterion(
        live,
        built,
        weights=weights,
        networks=networks or Networks(narrow_network, "cpu"),
        adversaries=discriminators(built, 0),
    )


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    sr, hr = (torch.rand(2, 3, 32, 32, generator=random) for _ in range(2))
    return sr.requires_grad_(), hr


def test_parts_are_what_the_losses_give_on_their_own(images: tuple[Tensor, Tensor]) -> None:
    total = total_of({"l1": 1.0, "content": 1.0, "texture": 1.0})
    features = narrow_network("vgg19").compare(*images, ["relu1_2", "relu2_2"])
    parts = total.parts(*images)
    assert list(parts) == ["l1", "content", "texture"]
    assert parts["l1"].item() == losses.build("l1")(*images).item()
    alone = losses.build("content", backbone="vgg19", layers=["relu2_2"])
    torch.testing.assert_close(parts["content"], alone(*images, features=features))


def test_total_is_the_weighted_sum_of_the_parts(images: tuple[Tensor, Tensor]) -> None:
    weights = {"l1": 2.0, "content": 0.25, "texture": 1e-3, "adversarial": 5e-3}
    total = total_of(weights)
    parts = total.parts(*images)
    expected = sum(weights[key] * part.item() for key, part in parts.items())
    assert total.total(parts).item() == pytest.approx(expected, rel=1e-6)


def test_one_backbone_is_passed_once_for_all_its_terms_and_no_deeper_than_they_read(
    images: tuple[Tensor, Tensor],
) -> None:
    passes: list[tuple[int, int]] = []

    def counted(name: str) -> FeatureNetwork:
        network = narrow_network(name)
        for depth, step in enumerate(network.steps):
            step.register_forward_hook(lambda *_, depth=depth: passes.append((depth, 1)))
        return network

    total_of({"content": 1.0, "texture": 1.0}, Networks(counted, "cpu")).parts(*images)
    deepest = narrow_network("vgg19").layers.index("relu2_2")
    assert [depth for depth, _ in passes] == [*range(deepest + 1), *range(deepest + 1)]


def test_term_of_weight_zero_is_neither_built_nor_computed(images: tuple[Tensor, Tensor]) -> None:
    def never(name: str) -> FeatureNetwork:
        raise AssertionError(f"{name} was loaded for a term of weight 0")

    total = total_of({"l1": 1.0, "content": 0.0}, Networks(never, "cpu"))
    assert list(total.parts(*images)) == ["l1"]


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(DefinitionError, match="every weight is zero"):
        total_of({"l1": 0.0})


def test_unknown_loss_is_named_with_its_remedy() -> None:
    with pytest.raises(DefinitionError, match=r"l1_smoothed.*known are"):
        modules([Term(loss="l1_smoothed")])


def test_discriminators_depend_on_the_seed_alone_and_leave_the_global_generator_as_it_was() -> None:
    built = modules(TERMS)
    torch.manual_seed(1)
    first = discriminators(built, 7)["adversarial"].state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    second, other = (discriminators(built, seed)["adversarial"].state_dict() for seed in (7, 8))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
