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


@dataclass(frozen=True)
class Translation:
    """A recipe as raw weights of every term of a study.

    `exact` says that each published term has a counterpart of the same convention; `notes` say in
    words where not. Weights may all be 0, when nothing has a counterpart: then there is no trial.
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
        weights[term.key] += published.weight
        notes += _differences(published, term, vocabulary)
    return Translation(f"recipe:{recipe.name}", weights, exact=not notes, notes=_unique(notes))


def _counterpart(
    published: RecipeTerm, definition: StudyDefinition, vocabulary: Vocabulary
) -> Term | None:
    """The study's term most like the published one; of equals the first."""
    family = vocabulary.losses[published.loss].family if published.loss in vocabulary.losses else ""
    same = [t for t in definition.losses if t.loss == published.loss]
    related = [t for t in definition.losses if vocabulary.losses[t.loss].family == family]
    candidates = same or related
    return min(candidates, key=lambda t: len(_differences(published, t, vocabulary)), default=None)


def _differences(published: RecipeTerm, term: Term, vocabulary: Vocabulary) -> list[str]:
    """Sentences on where the conventions of the two differ; empty when they are the same."""
    if published.loss != term.loss:
        return [f"{term.key} ({term.loss}) stands for {published.loss}"]
    theirs = _effective(published.loss, published.parameters, vocabulary)
    ours = _effective(term.loss, term.parameters, vocabulary)
    return [
        f"{term.key}: {name} is {_said(theirs.get(name))} in the recipe, {_said(ours.get(name))} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]


def _effective(loss: str, given: dict[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    defaults = {p.name: p.default for p in vocabulary.losses[loss].parameters}
    return {name: _plain(value) for name, value in (defaults | given).items()}


def _plain(value: Any) -> Any:
    """Tuples as lists, so that YAML and Python say the same."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items())
    if isinstance(value, list):
        # Losses take an empty list of layers as "the usual ones".
        return ", ".join(map(_said, value)) or "the default"
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _unique(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))
