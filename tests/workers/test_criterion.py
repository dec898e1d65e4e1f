"""The weighted sum: what is computed, how often, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import losses
from service.contract.study import Data, Term
from tests.workers.tiny_training import VGG19, Counting, Narrow
from workers.criterion import Criterion, criterion, modules
from workers.data.pairs import Batch
from workers.suppliers import SUPPLIERS, DefinitionError, Networks, Step, companions

TERMS = [
    Term(loss="l1"),
    Term(loss="content", parameters={"backbone": "vgg19", "layers": ["relu2_2"]}),
    Term(loss="texture", parameters={"backbone": "vgg19", "layers": ["relu1_2"]}),
    Term(loss="adversarial", parameters={"channels": 4, "depth": 2}),
]


DATA = Data(train=["a"], validation=["b"], scale=2)


def total_of(weights: dict[str, float], networks: Networks | None = None) -> Criterion:
    live = [term for term in TERMS if weights.get(term.key)]
    built = modules(live, DATA)
    return criterion(
        live,
        built,
        weights=weights,
        networks=networks or Networks(Narrow(), "cpu"),
        companions=companions(built, 0),
    )


@pytest.fixture
def step() -> Step:
    random = torch.Generator().manual_seed(0)
    sr, hr = (torch.rand(2, 3, 32, 32, generator=random) for _ in range(2))
    return Step(Batch(torch.rand(2, 3, 16, 16, generator=random), hr), sr.requires_grad_())


def parts_of(total: Criterion, step: Step) -> dict[str, Tensor]:
    return total.parts(step, total.given(step))


def test_parts_are_what_the_losses_give_on_their_own(step: Step) -> None:
    parts = parts_of(total_of({"l1": 1.0, "content": 1.0, "texture": 1.0}), step)
    features = Narrow().feature_network(VGG19).compare(step.sr, step.hr, ["relu1_2", "relu2_2"])
    assert list(parts) == ["l1", "content", "texture"]
    assert parts["l1"].item() == losses.build("l1")(step.sr, step.hr).item()
    alone = losses.build("content", backbone="vgg19", layers=["relu2_2"])
    torch.testing.assert_close(parts["content"], alone(step.sr, step.hr, features=features))


def test_total_is_the_weighted_sum_of_the_parts(step: Step) -> None:
    weights = {"l1": 2.0, "content": 0.25, "texture": 1e-3, "adversarial": 5e-3}
    total = total_of(weights)
    parts = parts_of(total, step)
    expected = sum(weights[key] * part.item() for key, part in parts.items())
    assert total.total(parts).item() == pytest.approx(expected, rel=1e-6)


def test_one_backbone_is_passed_once_for_all_its_terms_and_no_deeper_than_they_read(
    step: Step,
) -> None:
    counting = Counting()
    parts_of(total_of({"content": 1.0, "texture": 1.0}, Networks(counting, "cpu")), step)
    deepest = Narrow().feature_network(VGG19).layers.index("relu2_2")
    assert counting.passed == [*range(deepest + 1), *range(deepest + 1)]
    assert counting.loaded == [VGG19]


def test_term_of_weight_zero_is_neither_built_nor_computed(step: Step) -> None:
    counting = Counting()
    total = total_of({"l1": 1.0, "content": 0.0}, Networks(counting, "cpu"))
    assert list(parts_of(total, step)) == ["l1"]
    assert counting.loaded == []


def test_every_need_a_loss_may_declare_has_a_supplier() -> None:
    assert SUPPLIERS.keys() == losses.NEEDS.keys()


def test_average_is_asked_once_however_many_terms_want_it_and_gives_no_gradient(
    step: Step,
) -> None:
    asked = []

    class Average(nn.Module):
        def forward(self, lr: Tensor) -> Tensor:
            asked.append(lr)
            return (lr.repeat_interleave(2, -1).repeat_interleave(2, -2) * self.weight).half()

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.5))

    supply = SUPPLIERS["averaged"](dict.fromkeys("ab"), Networks(Narrow(), "cpu"), {})
    given = supply(replace(step, average=Average()))
    assert given["a"] is given["b"]
    assert len(asked) == 1
    found = given["a"]
    assert isinstance(found, Tensor)
    assert (found.dtype, found.requires_grad) == (torch.float32, False)
    without = supply(step)["a"]
    assert isinstance(without, Tensor)
    assert torch.equal(without, step.sr)
    assert not without.requires_grad


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(DefinitionError, match="every weight is zero"):
        total_of({"l1": 0.0})


def test_unknown_loss_is_named_with_its_remedy() -> None:
    with pytest.raises(DefinitionError, match=r"l1_smoothed.*known are"):
        modules([Term(loss="l1_smoothed")], DATA)


def test_companions_depend_on_the_seed_alone_and_leave_the_global_generator_as_it_was() -> None:
    built = modules(TERMS, DATA)
    torch.manual_seed(1)
    first = companions(built, 7)["adversarial"].state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    second, other = (companions(built, seed)["adversarial"].state_dict() for seed in (7, 8))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_loss_that_must_know_the_scale_gets_it_from_the_data() -> None:
    data = DATA.model_copy(update={"scale": 4})
    terms = [
        Term(loss="cycle"),
        Term(loss="cycle", name="own", parameters={"scale": 2}),
        Term(loss="edge", parameters={"scale": 0.5}),
    ]
    scales = [getattr(loss, "scale", None) for loss in modules(terms, data).values()]
    assert scales == [4, 2, 0.5]


def per_class(count: int, classes: dict[str, list[str]]) -> dict[str, nn.Module]:
    data = DATA.model_copy(update={"classes": classes})
    return modules([Term(loss="adversarial", parameters={"classes": count})], data)


def test_loss_per_class_needs_as_many_classes_as_the_data_name() -> None:
    classes = {"face": ["a"], "text": ["b"], "rest": ["c"]}
    assert list(per_class(3, classes)) == ["adversarial"]
    assert list(per_class(1, classes)) == ["adversarial"]
    with pytest.raises(DefinitionError, match=r"data\.classes is empty; name its 2 classes"):
        per_class(2, {})
    with pytest.raises(
        DefinitionError, match=r"is 2, but data\.classes names 3 \(face, text, rest\)"
    ):
        per_class(2, classes)
