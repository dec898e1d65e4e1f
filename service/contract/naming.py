"""Checks the names in a raw definition against the vocabulary: losses, models, metrics, recipes.

Reads tolerantly: what has the wrong shape is the other pass's finding and skipped here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from service.contract.errors import Problem
from service.contract.vocabulary import Parameter, Vocabulary

#: The baseline every study can name beside the published recipes.
PIXEL_RECIPE = "pixel"


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name closest to a misspelt one."""
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def naming_problems(raw: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[Problem]:
    """Yield every unknown name and every parameter that its loss or model would refuse."""
    model = _mapping(raw.get("model"))
    yield from _entry("model.name", model.get("name"), vocabulary.models, "model")
    if isinstance(name := model.get("name"), str) and name in vocabulary.models:
        info = vocabulary.models[name]
        yield from _parameters("model.parameters", model.get("parameters"), info.parameters)
        scale = _mapping(raw.get("data")).get("scale", 2)
        if isinstance(scale, int) and scale in (2, 3, 4) and scale not in info.scales:
            yield Problem(
                path="data.scale",
                value=scale,
                message=f"{name} cannot upscale by {scale}; it can by {info.scales}",
                allowed=[str(s) for s in info.scales],
            )
    for index, term in enumerate(_sequence(raw.get("losses"))):
        path, loss = f"losses[{index}]", _mapping(term).get("loss")
        yield from _entry(f"{path}.loss", loss, vocabulary.losses, "loss")
        if isinstance(loss, str) and loss in vocabulary.losses:
            known = vocabulary.losses[loss].parameters
            yield from _parameters(f"{path}.parameters", _mapping(term).get("parameters"), known)
            yield from _classes(path, _mapping(term), known, _mapping(raw.get("data")))
    for field in ("objectives", "metrics"):
        for index, metric in enumerate(_sequence(raw.get(field))):
            yield from _entry(f"{field}[{index}]", metric, vocabulary.metrics, "metric")
    recipes = {PIXEL_RECIPE: None, **vocabulary.recipes}
    for index, recipe in enumerate(_sequence(_mapping(raw.get("search")).get("recipes"))):
        yield from _entry(f"search.recipes[{index}]", recipe, recipes, "recipe")
    yield from _warmup_has_a_target(raw, vocabulary)


def _classes(
    path: str, term: Mapping[str, Any], known: list[Parameter], data: Mapping[str, Any]
) -> Iterator[Problem]:
    """A loss with a network per class of photos needs as many as the data have."""
    wanted = _mapping(term.get("parameters")).get("classes", 1)
    named = list(_mapping(data.get("classes")))
    if "classes" not in {parameter.name for parameter in known} or not isinstance(wanted, int):
        return
    if wanted > 1 and wanted != len(named):
        found = f"names {len(named)} ({', '.join(named)})" if named else "is empty"
        yield Problem(
            path=f"{path}.parameters.classes",
            value=wanted,
            message=f"{wanted} classes of photos are asked for, but data.classes {found}; name there "
            "each class with its photos",
        )


def _warmup_has_a_target(raw: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[Problem]:
    """The start trains on a pixel loss that is searched; without one there is no reference."""
    losses = [_mapping(term) for term in _sequence(raw.get("losses"))]
    names = [term.get("loss") for term in losses]
    if not losses or not all(isinstance(n, str) and n in vocabulary.losses for n in names):
        return  # already reported, and nothing can be said before the names are right
    for term, name in zip(losses, names, strict=True):
        fixed = isinstance(term.get("weight"), (int, float))
        if vocabulary.losses[str(name)].family == "pixel" and not fixed:
            return
    pixel = sorted(info.name for info in vocabulary.losses.values() if info.family == "pixel")
    yield Problem(
        path="losses",
        value=names,
        message="no pixel loss is searched, but the shared start trains on one and shares are "
        f"measured against it; add one of {', '.join(pixel)} with weight `search`",
        allowed=pixel,
    )


def _entry(path: str, name: object, known: Mapping[str, object], noun: str) -> Iterator[Problem]:
    if not isinstance(name, str) or name in known:
        return  # a missing or mistyped name is the first pass's finding
    near = nearest(name, known)
    hint = f"did you mean `{near}`?" if near else f"known: {', '.join(sorted(known))}"
    yield Problem(
        path=path,
        value=name,
        message=f"there is no {noun} `{name}`; {hint}",
        allowed=sorted(known),
        nearest=near,
    )


def _parameters(path: str, given: object, known: list[Parameter]) -> Iterator[Problem]:
    by_name = {parameter.name: parameter for parameter in known}
    given = _mapping(given)
    for name, value in given.items():
        if parameter := by_name.get(str(name)):
            yield from _parameter(f"{path}.{name}", value, parameter)
        else:
            yield from _entry(f"{path}.{name}", str(name), by_name, "parameter")
    for parameter in known:
        if parameter.required and parameter.name not in given:
            yield Problem(
                path=f"{path}.{parameter.name}", message=f"`{parameter.name}` is required"
            )


_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "list": (list, tuple),
    "mapping": (dict, Mapping),
}


def _parameter(path: str, value: object, parameter: Parameter) -> Iterator[Problem]:
    numeric = parameter.type in ("int", "float")
    if not isinstance(value, _TYPES[parameter.type]) or (numeric and isinstance(value, bool)):
        # A layer list is as good as a layer mapping where the loss takes either.
        if not (parameter.type in ("list", "mapping") and isinstance(value, (list, dict))):
            message = f"expected {_article(parameter.type)}, got {value!r}"
            yield Problem(path=path, value=value, message=message, allowed=parameter.choices)
        return
    if parameter.choices and isinstance(value, str) and value not in parameter.choices:
        near = nearest(value, parameter.choices)
        message = f"{value!r} is not one of {', '.join(parameter.choices)}"
        yield Problem(
            path=path, value=value, message=message, allowed=parameter.choices, nearest=near
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = parameter.low, parameter.high
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"at least {low:g}" if high is None else f"at most {high:g}"
            if low is not None and high is not None:
                bounds = f"between {low:g} and {high:g}"
            yield Problem(path=path, value=value, message=f"must be {bounds}, got {value!r}")


def _article(kind: str) -> str:
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    return names.get(kind, f"a {kind}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
