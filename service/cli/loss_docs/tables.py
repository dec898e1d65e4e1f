"""The tables of docs/losses.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from losses import NEEDS, TRAINED, LossSpec, Parameter
from service.cli.loss_docs.sources import Peer, Row, measured
from service.cli.recipe_tables import parameters as said

#: Kinds of parameters in words; a mapping may be written as a list, each of weight 1.
_KINDS = {
    "int": "whole number",
    "float": "number",
    "bool": "true/false",
    "str": "text",
    "list": "list of names",
    "mapping": "names, or names with weights",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = "") -> str:
    """Return a Markdown table; columns named in `right` are set to the right."""
    rules = ["---:" if name in right.split() else "---" for name in head]
    lines = [head, rules, *([cell(part) for part in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(words: str) -> str:
    """Return text that does not end a table's cell."""
    return words.replace("|", "\\|").replace("\n", " ")


def needs_table() -> str:
    """Return what trainers hand to losses by name."""
    of = {name: f"{what}; `build_{name}()` makes it" for name, what in NEEDS.items()}
    rows = [[f"`{name}`", of[name] if name in TRAINED else what] for name, what in NEEDS.items()]
    return table(("need", "what is handed over"), rows)


def needs(spec: LossSpec) -> str:
    """Return a loss's needs, those of some settings only in brackets."""
    always = [f"`{need}`" for need in spec.needs]
    return ", ".join([*always, *(f"(`{need}`)" for need in spec.may_need)]) or "–"


def parameter_table(spec: LossSpec) -> str:
    """Return the parameters with types, ranges and defaults."""
    rows = [
        [f"`{p.name}`", _kind(p), "required" if p.required else f"`{_default(p)}`", p.description]
        for p in spec.parameters
    ]
    return table(("parameter", "type", "default", "meaning"), rows)


def _kind(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice or chr(34) * 2}`" for choice in parameter.choices)
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in (("≥", parameter.low), ("≤", parameter.high))
        if bound is not None
    ]
    return ", ".join([_KINDS[parameter.type], *bounds])


def _default(parameter: Parameter) -> str:
    value = parameter.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return '""' if value == "" else str(list(value) if isinstance(value, tuple) else value)


def convention_table(peer: Peer) -> str:
    """Return other code's conventions in our names."""
    return table(("there", "here", "proof", "mind"), [_convention(row) for row in peer.rows])


def _convention(row: Row) -> tuple[str, str, str, str]:
    if row.never:
        return f"`{row.theirs}`", "–", "", row.never
    proof = "✓ " + ", ".join(f"`{case}`" for case in row.cases) if row.cases else ""
    return f"`{row.theirs}`", f"`{row.call}`", proof, row.but


def growth_table() -> str:
    """Return how losses grow with the patch."""
    rows = [
        [f"`{row['loss']}`", said(row["parameters"]) or "defaults", *_ratios(row)]
        for row in measured("growth.json")
    ]
    return table(("loss", "settings", "value", "gradient"), rows, right="value gradient")


def _ratios(row: Mapping[str, Any]) -> tuple[str, str]:
    return f"{row['value']:,.4g}", f"{row['gradient']:,.4g}"
