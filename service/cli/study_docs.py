"""Writes docs/study.md from the study's JSON schema, so that no field is forgotten or outdated."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.cli.study_files import example, study_schema
from service.contract import study

_INTRODUCTION = """\
# The study definition

<!-- Written by `python -m service.cli.study_docs docs/study.md`; edit the models in
service/contract/study.py instead. -->

A study is one YAML or JSON document. Unknown fields are errors, numbers are not texts, and every
problem is reported at once, with the path of the field, what was given and what would be right:
`srtune study validate FILE`. `srtune study init --schema` writes the example below and the JSON
schema with which editors complete and check it; a running service answers it at
`/api/v1/schema/study`.
"""
#: Every part of a definition: the title of its section and the path of its fields.
_PARTS: dict[type[BaseModel], tuple[str, str]] = {
    study.StudyDefinition: ("The study", ""),
    study.Data: ("data", "data"),
    study.Model: ("model", "model"),
    study.Term: ("losses, each", "losses[n]"),
    study.Search: ("search", "search"),
    study.Training: ("training", "training"),
    study.Optimizer: ("training.optimizer", "training.optimizer"),
    study.Schedule: ("training.schedule", "training.schedule"),
    study.Warmup: ("training.warmup", "training.warmup"),
    study.Pruning: ("pruning", "pruning"),
    study.Confirm: ("confirm", "confirm"),
    study.Budget: ("budget", "budget"),
}


def page() -> str:
    """The whole page as Markdown; KeyError for a part of the schema that has no section."""
    schema = study_schema()
    parts = {**schema["$defs"], study.StudyDefinition.__name__: schema}
    if forgotten := set(parts) - {model.__name__ for model in _PARTS}:
        raise KeyError(f"no section for {', '.join(sorted(forgotten))}; add it to _PARTS")
    sections = [_section(model, parts[model.__name__]) for model in _PARTS]
    worked = f"## A worked example\n\n```yaml\n{example()}```\n"
    return "\n".join([_INTRODUCTION, *sections, worked])


def _section(model: type[BaseModel], part: dict[str, Any]) -> str:
    title, path = _PARTS[model]
    head = "| field | type | default | meaning |\n|---|---|---|---|"
    rows = "\n".join(_rows(path, model, part["properties"]))
    return f"## {title}\n\n{model.__doc__}\n\n{head}\n{rows}\n"


def _rows(path: str, model: type[BaseModel], properties: dict[str, Any]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        where = f"{path}.{name}" if path else name
        meaning = (info.description or "").replace("|", "\\|")
        yield f"| `{where}` | {_kind(properties[name])} | {_default(info)} | {meaning} |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None:
        return "none"
    return "see there" if isinstance(value, BaseModel) else f"`{json.dumps(value)}`"


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"[mapping](#{_anchor(field['$ref'])})"
    if "anyOf" in field:
        kinds = [_kind(option) for option in field["anyOf"] if option.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    return _plain_kind(field)


def _plain_kind(field: dict[str, Any]) -> str:
    kind = field.get("type")
    if kind == "array":
        if "prefixItems" in field:
            return f"list of {len(field['prefixItems'])}: {_kind(field['prefixItems'][0])}"
        return f"list of {_kind(field['items'])}"
    if kind == "object":
        return "mapping"
    names = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true/false",
    }
    return f"{names.get(str(kind), str(kind))}{_bounds(field)}"


def _bounds(field: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {_figure(field[key])}" for key, sign in signs.items() if key in field]
    return f" {', '.join(said)}" if said else ""


def _figure(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _anchor(ref: str) -> str:
    named = {model.__name__: title for model, (title, _) in _PARTS.items()}
    title = named[ref.rpartition("/")[2]]
    return "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
