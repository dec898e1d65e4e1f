"""Published weights in a study's terms: what fits is exact, what does not is said."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.errors import InvalidStudy
from service.contract.study import Data, Model, StudyDefinition, Term
from service.contract.vocabulary import LossInfo, Parameter, Recipe, RecipeTerm, Side, Vocabulary
from service.tuner import translate, translate_named
from workers.vocabulary import vocabulary


def _loss(name: str, family: str, side: Side, *parameters: Parameter) -> LossInfo:
    return LossInfo(
        name=name, family=family, summary="", side=side, share=(0, 1), parameters=list(parameters)
    )


def _recipe(name: str, *terms: RecipeTerm) -> Recipe:
    return Recipe(name=name, summary="", source="", terms=list(terms))


KIND = Parameter(name="kind", type="str", default="vanilla")
LAYERS = Parameter(name="layers", type="mapping", default={"conv5_4": 1.0})
ESRGAN = _recipe(
    "esrgan",
    RecipeTerm(loss="l1", weight=0.01),
    RecipeTerm(loss="content", weight=1.0, parameters={"layers": {"conv5_4": 1.0}}),
    RecipeTerm(loss="adversarial", weight=0.005, parameters={"kind": "ragan"}),
)
VOCABULARY = Vocabulary(
    losses={
        "l1": _loss("l1", "pixel", "distortion"),
        "charbonnier": _loss("charbonnier", "pixel", "distortion"),
        "content": _loss("content", "content", "perception", LAYERS),
        "adversarial": _loss("adversarial", "adversarial", "perception", KIND),
        "edge": _loss("edge", "edge", "distortion"),
    },
    recipes={"esrgan": ESRGAN},
)


def _study(*terms: Term) -> StudyDefinition:
    return StudyDefinition(
        name="s",
        data=Data(train=["a"], validation=["b"]),
        model=Model(name="espcn"),
        losses=list(terms),
    )


RAGAN = Term(loss="adversarial", parameters={"kind": "ragan"})


def test_a_recipe_of_the_same_conventions_is_exact_and_the_rest_is_off() -> None:
    study = _study(Term(loss="content", name="vgg"), Term(loss="l1"), RAGAN, Term(loss="edge"))
    found = translate_named("esrgan", study, VOCABULARY)
    assert found.weights == {"vgg": 1.0, "l1": 0.01, "adversarial": 0.005, "edge": 0.0}
    assert (found.origin, found.exact, found.notes) == ("recipe:esrgan", True, [])


def test_another_convention_is_noted_in_words() -> None:
    study = _study(Term(loss="l1"), Term(loss="content"), Term(loss="adversarial"))
    found = translate(ESRGAN, study, VOCABULARY)
    assert not found.exact
    assert found.notes == ["adversarial has kind vanilla for ragan"]


def test_a_relative_stands_in_where_the_loss_itself_is_missing() -> None:
    found = translate(ESRGAN, _study(Term(loss="charbonnier"), RAGAN), VOCABULARY)
    assert found.weights == {"charbonnier": 0.01, "adversarial": 0.005}
    assert found.notes == [
        "charbonnier (charbonnier) stands for l1",
        "the study has no counterpart of content 1",
    ]


def test_of_two_terms_of_a_loss_the_one_with_the_recipes_convention_is_taken() -> None:
    plain = Term(loss="adversarial", name="plain")
    found = translate(
        ESRGAN, _study(Term(loss="l1"), plain, RAGAN, Term(loss="content")), VOCABULARY
    )
    assert found.weights["plain"] == 0.0
    assert found.weights["adversarial"] == 0.005
    assert found.exact


def test_several_content_layers_meet_in_one_term() -> None:
    recipe = _recipe(
        "layers",
        RecipeTerm(loss="content", weight=0.25, parameters={"layers": {"conv3_4": 1.0}}),
        RecipeTerm(loss="content", weight=0.5),
    )
    found = translate(recipe, _study(Term(loss="l1"), Term(loss="content")), VOCABULARY)
    assert found.weights == {"l1": 0.0, "content": 0.75}
    assert found.notes == [
        "content has layers conv5_4 1 for conv3_4 1",
        "content stands for several terms of layers; their weights are added",
    ]


def test_layers_are_the_same_as_a_list_and_as_a_mapping_to_1() -> None:
    listed = Term(loss="content", parameters={"layers": ["conv5_4"]})
    assert translate(ESRGAN, _study(Term(loss="l1"), listed, RAGAN), VOCABULARY).exact
    both = Term(loss="content", parameters={"layers": ["conv5_4", "conv3_4"]})
    found = translate(ESRGAN, _study(Term(loss="l1"), both, RAGAN), VOCABULARY)
    assert found.notes == ["content has layers conv5_4 1, conv3_4 1 for conv5_4 1"]


def test_several_differences_of_a_term_are_one_note() -> None:
    depth = Parameter(name="depth", type="int", default=3)
    losses = VOCABULARY.losses | {
        "adversarial": _loss("adversarial", "adversarial", "perception", KIND, depth)
    }
    recipe = _recipe(
        "deep",
        RecipeTerm(loss="adversarial", weight=1.0, parameters={"kind": "ragan", "depth": 5}),
    )
    found = translate(
        recipe,
        _study(Term(loss="l1"), Term(loss="adversarial")),
        VOCABULARY.model_copy(update={"losses": losses}),
    )
    assert found.notes == ["adversarial has depth 3 for 5, kind vanilla for ragan"]


def test_what_a_published_term_already_lacks_is_told_and_makes_it_inexact() -> None:
    lacking = RecipeTerm(loss="l1", weight=1.0, note="L1 stands for the loss on luma")
    found = translate(_recipe("odd", lacking), _study(Term(loss="l1")), VOCABULARY)
    assert found.weights == {"l1": 1.0}
    assert (found.exact, found.notes) == (False, ["l1: L1 stands for the loss on luma"])


def test_a_recipe_without_any_counterpart_is_no_trial() -> None:
    found = translate(
        _recipe("odd", RecipeTerm(loss="hed", weight=1.0)), _study(Term(loss="l1")), VOCABULARY
    )
    assert not found.usable
    assert found.notes == ["the study has no counterpart of hed 1"]


def test_pixel_is_the_first_searched_distortion_term_alone() -> None:
    study = _study(Term(loss="content"), Term(loss="edge", weight=0.1), Term(loss="charbonnier"))
    found = translate_named("pixel", study, VOCABULARY)
    assert found.weights == {"content": 0.0, "edge": 0.0, "charbonnier": 1.0}
    assert (found.origin, found.exact) == ("baseline", True)


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidStudy) as caught:
        translate_named("esrgn", _study(Term(loss="l1")), VOCABULARY)
    problem = caught.value.problems[0]
    assert (problem.nearest, problem.allowed) == ("esrgan", ["pixel", "esrgan"])


@pytest.mark.parametrize(
    ("parameters", "weight"),
    [
        ({"preset": "srgan"}, 1.0),
        ({"backbone": "vgg19", "layers": {"relu5_4": 1.0}, "criterion": "l2"}, 1 / 12.75**2),
    ],
)
def test_a_factor_in_front_of_a_loss_goes_into_the_weight_whoever_writes_it(
    parameters: dict[str, Any], weight: float
) -> None:
    words = vocabulary()
    definition = StudyDefinition.model_validate(
        {
            "name": "s",
            "data": {"train": ["a"], "validation": ["b"]},
            "model": {"name": "espcn"},
            "losses": [{"loss": "l1"}, {"loss": "content", "parameters": parameters}],
        },
        strict=False,
    )
    found = translate_named("srgan", definition, words)
    assert found.weights["content"] == pytest.approx(weight)
    assert not [note for note in found.notes if note.startswith("content")]
