"""Turns whatever is wrong with a study definition into sentences, all at once.

Two passes over the raw document: pydantic for shapes and ranges, the vocabulary for names and
parameters. The second runs even where the first found faults, so that one answer tells it all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from service.contract.errors import InvalidStudy, Problem
from service.contract.naming import naming_problems, nearest
from service.contract.plain import unwritable
from service.contract.study import StudyDefinition
from service.contract.vocabulary import Vocabulary


def check(raw: object, vocabulary: Vocabulary) -> StudyDefinition:
    """Return the definition, or raise `InvalidStudy` with every problem found."""
    if not isinstance(raw, Mapping):
        problem = Problem(path="", value=raw, message="a study definition is a mapping of fields")
        raise InvalidStudy("the study definition is not a mapping", problems=[problem])
    raw = {field: value for field, value in raw.items() if field != "$schema"}
    if problems := list(unwritable(raw)):
        raise InvalidStudy(_headline(problems), problems=problems)
    problems = list(naming_problems(raw, vocabulary))
    try:
        # Through JSON, because strict mode takes tuples from JSON lists but not from Python's.
        definition = StudyDefinition.model_validate_json(TypeAdapter(Any).dump_json(raw))
    except ValidationError as error:
        problems = [*shape_problems(error, StudyDefinition), *problems]
    else:
        if not problems:
            return definition
    raise InvalidStudy(_headline(problems), problems=problems)


def shape_problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Pydantic's findings as problems with path, value, remedy and nearest known field."""
    problems: list[Problem] = []
    for found in error.errors(include_url=False):
        location = tuple(part for part in found["loc"] if not _is_union_tag(part))
        path = _path(location)
        if any(problem.path == path for problem in problems):
            continue  # the branches of a union report one after another; the first will do
        problems.append(_shape_problem(found["type"], found, location, path, model))
    return problems


def _shape_problem(
    kind: str, found: Any, location: tuple[str | int, ...], path: str, model: type[BaseModel]
) -> Problem:
    value = found.get("input")
    if kind == "extra_forbidden":
        known = sorted(_fields_at(model, location[:-1]))
        near = nearest(location[-1], known)
        hint = f"did you mean `{near}`?" if near else f"known here: {', '.join(known)}"
        message = f"unknown field `{location[-1]}`; {hint}"
        return Problem(path=path, value=value, message=message, allowed=known, nearest=near)
    if kind == "missing":
        return Problem(path=path, message=f"`{location[-1]}` is required; add it")
    if kind == "literal_error":
        allowed = [
            part.strip(" '") for part in found["ctx"]["expected"].replace(" or ", ", ").split(",")
        ]
        near = nearest(value, allowed)
        message = f"{value!r} is not one of {', '.join(allowed)}" + (
            f"; did you mean `{near}`?" if near else ""
        )
        return Problem(path=path, value=value, message=message, allowed=allowed, nearest=near)
    message = str(found["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if kind != "value_error":
        message = f"{message}; got {value!r}"
    else:
        value = None  # the whole part; the sentence names what is wrong in it
    return Problem(path=path, value=value, message=message)


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> Iterator[str]:
    """Field names of the part of the model that a location leads to."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = here.model_fields[part].annotation
        here = (
            annotation if _is_model(annotation) else next(filter(_is_model, _arguments(annotation)))
        )
    yield from here.model_fields


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return tuple(getattr(annotation, "__args__", ()))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_union_tag(part: str | int) -> bool:
    """Pydantic puts the branch of a union into the location; people did not write it."""
    return isinstance(part, str) and (
        "[" in part or part in ("float", "int", "none", "constrained-float")
    )


def _path(location: tuple[str | int, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _headline(problems: list[Problem]) -> str:
    first = f"{problems[0].path}: {problems[0].message}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"the study definition has {len(problems)} problem(s); {first}{more}"
