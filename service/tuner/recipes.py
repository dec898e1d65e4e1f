"""Published weights, said in a study's own terms, with what got lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from service.contract.errors import InvalidStudy, Problem
from service.contract.reference import reference_term
from service.contract.study import StudyDefinition, Term
from service.contract.vocabulary import Recipe, RecipeTerm, Vocabulary

#: The recipe every study knows: the reference term alone, what tuning must beat.
PIXEL = "pixel"


#: Parameters that only multiply a loss, with the criteria under which they do so squared.
_FACTORS: dict[tuple[str, str], tuple[str, ...]] = {
    ("content", "feature_scale"): ("l2",),
    ("tv", "factor"): (),
}


@dataclass(frozen=True)
class Translation:
    """A recipe as raw weights of every term of a study.

    `exact` says that each published term has a counterpart of the same convention; `notes` say in
    words where not. Weights may all be 0, when nothing has a counterpart: then there is no trial.
    What a recipe was published with beside its losses (`Recipe.notes`) is no matter of translation.
    """

    origin: str
    weights: dict[str, float]
    exact: bool
    notes: list[str]

    @property
    def usable(self) -> bool:
        return any(weight > 0 for weight in self.weights.values())


def translate_named(name: str, definition: StudyDefinition, vocabulary: Vocabulary) -> Translation:
    """The recipe of this name in the study's terms; `pixel` is the baseline. InvalidStudy if unknown."""
    if name == PIXEL:
        return baseline(definition, vocabulary)
    if name not in vocabulary.recipes:
        known = [PIXEL, *sorted(vocabulary.recipes.keys() - {PIXEL})]
        problem = Problem(
            path="search.recipes",
            message=f"there is no recipe {name}; use one of {', '.join(known)}",
            value=name,
            allowed=known,
            nearest=next(iter(get_close_matches(name, known, n=1)), None),
        )
        raise InvalidStudy(problem.message, problems=[problem])
    return translate(vocabulary.recipes[name], definition, vocabulary)


def baseline(definition: StudyDefinition, vocabulary: Vocabulary) -> Translation:
    """The first searched pixel loss alone at weight 1, everything else off."""
    first = reference_term(definition, vocabulary)
    if first is None:
        raise InvalidStudy("no pixel loss is searched; add one for the baseline")
    weights = {term.key: float(term is first) for term in definition.losses}
    return Translation("baseline", weights, exact=True, notes=[])


def translate(recipe: Recipe, definition: StudyDefinition, vocabulary: Vocabulary) -> Translation:
    """The recipe's weights on the study's terms of the same loss, else of the same family.

    Terms the recipe lacks get 0. Several published terms may meet in one of the study's (a content
    loss of several layers): their weights are added and a note says so.
    """
    weights = {term.key: 0.0 for term in definition.losses}
    notes: list[str] = []
    taken: dict[str, RecipeTerm] = {}
    for published in recipe.terms:
        term = _counterpart(published, definition, vocabulary)
        if term is None:
            notes.append(f"the study has no counterpart of {published.loss} {published.weight:g}")
            continue
        if term.key in taken:
            notes.append(
                f"{term.key} stands for several terms of {recipe.name}; their weights are added"
            )
        taken[term.key] = published
        weights[term.key] += published.weight * _rescaled(published, term, vocabulary)
        notes += _differences(published, term, vocabulary)
        if published.note:
            notes.append(f"{term.key}: {published.note}")
    return Translation(f"recipe:{recipe.name}", weights, exact=not notes, notes=_unique(notes))


def _counterpart(
    published: RecipeTerm, definition: StudyDefinition, vocabulary: Vocabulary
) -> Term | None:
    """The study's term most like the published one; of equals the first."""
    family = vocabulary.losses[published.loss].family if published.loss in vocabulary.losses else ""
    same = [t for t in definition.losses if t.loss == published.loss]
    if same:
        return min(same, key=lambda t: len(_differing(published, t, vocabulary)))
    related = (t for t in definition.losses if vocabulary.losses[t.loss].family == family)
    return next(related, None)


def _differences(published: RecipeTerm, term: Term, vocabulary: Vocabulary) -> list[str]:
    """A sentence on where the conventions of the two differ; none when they are the same."""
    if published.loss != term.loss:
        return [f"{term.key} ({term.loss}) stands for {published.loss}"]
    told = [
        f"{name} {_said(ours)} for {_said(theirs)}"
        for name, (theirs, ours) in _differing(published, term, vocabulary).items()
    ]
    return [f"{term.key} has {', '.join(told)}"] if told else []


def _differing(
    published: RecipeTerm, term: Term, vocabulary: Vocabulary
) -> dict[str, tuple[Any, Any]]:
    """Values in the recipe and here of the parameters that are not the same."""
    theirs = _effective(published.loss, published.parameters, vocabulary)
    ours = _effective(term.loss, term.parameters, vocabulary)
    return {
        name: (theirs.get(name), ours.get(name))
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name) and name not in _without_effect(published.loss)
    }


def _without_effect(loss: str) -> set[str]:
    """Parameters that need no note: a preset is what it fills in, a factor goes into the weight."""
    return {"preset", *(name for owner, name in _FACTORS if owner == loss)}


def _rescaled(published: RecipeTerm, term: Term, vocabulary: Vocabulary) -> float:
    """What the published weight is multiplied by, where our term has another factor in front."""
    if published.loss != term.loss:
        return 1.0
    theirs = _effective(published.loss, published.parameters, vocabulary)
    ours = _effective(term.loss, term.parameters, vocabulary)
    ratio = 1.0
    for (loss, name), squared in _FACTORS.items():
        if loss == term.loss and ours.get(name) and theirs.get(name):
            power = 2 if theirs.get("criterion") in squared else 1
            ratio *= (theirs[name] / ours[name]) ** power
    return ratio


def _effective(loss: str, given: dict[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """Every parameter of a loss, in the form in which equal values are equal."""
    if loss not in vocabulary.losses:
        return dict(given)
    known = vocabulary.losses[loss].parameters
    mappings = {p.name for p in known if p.type == "mapping"}
    filled = vocabulary.losses[loss].presets.get(str(given.get("preset", "")), {})
    values = {p.name: p.default for p in known} | filled | given
    return {name: _plain(value, named=name in mappings) for name, value in values.items()}


def _plain(value: Any, *, named: bool) -> Any:
    """Tuples as lists, and a list of names as the mapping it is short for."""
    if isinstance(value, list | tuple):
        return dict.fromkeys(value, 1.0) if named and value else [*value]
    return value


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items())
    if isinstance(value, list):
        # Losses take an empty list of layers as "the usual ones".
        return ", ".join(map(_said, value)) or "the default"
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _unique(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))
