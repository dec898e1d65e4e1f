"""A wrong definition is answered with sentences: path, value, allowed names, nearest, all at once."""

from __future__ import annotations

import contextlib
import copy
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.checking import check
from service.contract.errors import InvalidStudy, Problem
from service.contract.study import StudyDefinition
from service.contract.vocabulary import (
    LossInfo,
    MetricInfo,
    ModelInfo,
    Parameter,
    Recipe,
    RecipeTerm,
    Vocabulary,
)

VOCABULARY = Vocabulary(
    losses={
        "charbonnier": LossInfo(
            name="charbonnier",
            family="pixel",
            summary="",
            side="distortion",
            share=(0.0, 1.0),
            parameters=[
                Parameter(name="eps", type="float", default=1e-3, low=0.0),
                Parameter(name="form", type="str", choices=["survey", "added"]),
            ],
        ),
        "adversarial": LossInfo(
            name="adversarial",
            family="adversarial",
            summary="",
            side="perception",
            share=(0.0, 1.0),
            parameters=[Parameter(name="classes", type="int", default=1, low=1)],
        ),
        "content": LossInfo(
            name="content", family="content", summary="", side="perception", share=(0.0, 1.0)
        ),
    },
    models={
        "espcn": ModelInfo(
            name="espcn",
            summary="",
            scales=[2, 3],
            parameters=[Parameter(name="width", type="int", low=1, high=512)],
        )
    },
    metrics={
        "psnr_y": MetricInfo(name="psnr_y", summary="", direction="maximize", side="distortion"),
        "hf_energy_error": MetricInfo(
            name="hf_energy_error", summary="", direction="minimize", side="perception"
        ),
        "ssim_y": MetricInfo(name="ssim_y", summary="", direction="maximize", side="distortion"),
    },
    recipes={
        "esrgan": Recipe(
            name="esrgan",
            summary="",
            source="",
            terms=[RecipeTerm(loss="charbonnier", weight=0.01)],
        )
    },
)

GOOD: dict[str, Any] = {
    "name": "photos",
    "data": {"train": ["/a"], "validation": ["/b"], "patch": 96},
    "model": {"name": "espcn", "parameters": {"width": 32}},
    "losses": [
        {"loss": "charbonnier", "name": "pixel", "parameters": {"eps": 1e-3}},
        {"loss": "content", "share": [0.01, 0.9]},
    ],
    "search": {"recipes": ["pixel", "esrgan"]},
}


def problems(**changes: Any) -> list[Problem]:
    raw = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("__")
        part: Any = raw
        for parent in parents:
            part = part[int(parent)] if isinstance(part, list) else part.setdefault(parent, {})
        part[int(last) if isinstance(part, list) else last] = value
    with pytest.raises(InvalidStudy) as caught:
        check(raw, VOCABULARY)
    return caught.value.problems


def test_a_good_definition_is_accepted_with_its_defaults() -> None:
    definition = check(GOOD, VOCABULARY)
    assert definition.losses[0].key == "pixel"
    assert definition.losses[1].share == (0.01, 0.9)
    assert definition.training.rung_steps() == [1250, 2500, 3750]


def test_a_document_may_name_its_schema_for_editors() -> None:
    assert check(GOOD | {"$schema": "study.schema.json"}, VOCABULARY) == check(GOOD, VOCABULARY)
    assert "$schema" in StudyDefinition.model_json_schema()["properties"]


def test_an_accepted_definition_survives_json_and_back() -> None:
    definition = check(GOOD, VOCABULARY)
    assert check(definition.model_dump(mode="json"), VOCABULARY) == definition


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    (problem,) = problems(data__batchsize=4)
    assert problem.path == "data.batchsize"
    assert problem.nearest == "batch"
    assert "did you mean `batch`?" in problem.message


def test_an_unknown_field_deep_in_a_list_gets_the_fields_of_that_part() -> None:
    (problem,) = problems(losses__1__weigth="search")
    assert problem.path == "losses[1].weigth"
    assert problem.nearest == "weight"


@pytest.mark.parametrize(
    ("change", "path", "nearest"),
    [
        ({"losses__0__loss": "charbonier"}, "losses[0].loss", "charbonnier"),
        ({"model__name": "espnc"}, "model.name", "espcn"),
        ({"objectives": ["psnr"]}, "objectives[0]", "psnr_y"),
        ({"metrics": ["ssim"]}, "metrics[0]", "ssim_y"),
        ({"search__recipes": ["esrgn"]}, "search.recipes[0]", "esrgan"),
        ({"losses__0__parameters": {"epss": 1.0}}, "losses[0].parameters.epss", "eps"),
        ({"losses__0__parameters": {"form": "aded"}}, "losses[0].parameters.form", "added"),
        ({"search__sampler": "tpee"}, "search.sampler", "tpe"),
    ],
)
def test_an_unknown_name_comes_with_the_known_ones_and_the_nearest(
    change: dict[str, Any], path: str, nearest: str
) -> None:
    (problem,) = problems(**change)
    assert (problem.path, problem.nearest) == (path, nearest)
    assert nearest in problem.allowed


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"data__patch": 97}, "data", "use 96 or 98"),
        ({"data__batch": 0}, "data.batch", "got 0"),
        ({"data__batch": "8"}, "data.batch", "got '8'"),
        ({"data__scale": 4}, "data.scale", "cannot upscale by 4"),
        ({"losses__0__parameters": {"eps": -1.0}}, "losses[0].parameters.eps", "at least 0"),
        ({"losses__0__parameters": {"eps": "x"}}, "losses[0].parameters.eps", "a number"),
        ({"model__parameters": {"width": 1000}}, "model.parameters.width", "between 1 and 512"),
        ({"training__rungs": [0.5, 0.5]}, "training", "different steps"),
        ({"losses__1__share": [0.5, 0.1]}, "losses[1]", "is empty"),
        ({"losses__0__weight": 1.0}, "losses", "no pixel loss is searched"),
        ({"losses__1__name": "pixel"}, "", "pixel twice"),
        ({"losses__0__weight": "serach"}, "losses[0].weight", "'serach'"),
        ({"name": ""}, "name", "got ''"),
    ],
)
def test_a_value_that_cannot_be_right_gets_one_sentence_with_the_remedy(
    change: dict[str, Any], path: str, words: str
) -> None:
    (problem,) = problems(**change)
    assert problem.path == path
    assert words in problem.message


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        data__batchsize=4, losses__0__loss="l1x", model__name="x", objectives=["psnr"], name=3
    )
    assert {problem.path for problem in found} == {
        "data.batchsize", "losses[0].loss", "model.name", "objectives[0]", "name",
    }  # fmt: skip


def test_a_missing_part_is_asked_for() -> None:
    raw = copy.deepcopy(GOOD)
    del raw["data"]["train"], raw["model"]
    with pytest.raises(InvalidStudy) as caught:
        check(raw, VOCABULARY)
    assert {p.path for p in caught.value.problems} == {"data.train", "model"}


leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


def part(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A JSON value of such values, or one of them."""
    keys = st.text(max_size=8)
    return inner | st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)


json = part(part(leaf))
fields = st.sampled_from(
    ["name", "data", "model", "losses", "search", "objectives", "metrics", "training", "budget"]
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(fields, json, max_size=4))
def test_whatever_is_given_the_answer_is_a_definition_or_its_problems(
    change: dict[str, Any],
) -> None:
    with contextlib.suppress(InvalidStudy):
        check({**GOOD, **change}, VOCABULARY)


PER_CLASS = {"loss": "adversarial", "parameters": {"classes": 2}}


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({}, "2 classes of photos are asked for, but data.classes is empty"),
        ({"face": ["/a"], "text": ["/c"], "rest": ["/d"]}, r"names 3 \(face, text, rest\)"),
    ],
)
def test_a_loss_per_class_needs_as_many_classes_as_the_data_have(
    classes: dict[str, Any], words: str
) -> None:
    (problem,) = problems(losses__1=PER_CLASS, data__classes=classes)
    assert problem.path == "losses[1].parameters.classes"
    assert re.search(words, problem.message)


def test_a_loss_per_class_of_the_data_is_accepted() -> None:
    classes = {"face": ["/a/faces"], "text": ["/a/text"]}
    raw = GOOD | {
        "losses": [GOOD["losses"][0], PER_CLASS],
        "data": GOOD["data"] | {"classes": classes},
    }
    assert list(check(raw, VOCABULARY).data.classes) == ["face", "text"]


def test_one_class_alone_is_refused() -> None:
    (problem,) = problems(data__classes={"face": ["/a"]})
    assert "names only face; name at least two, or none" in problem.message
