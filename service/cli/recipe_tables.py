"""Published loss weights for people: all in one table, one with its conventions and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.cli.output import number
from service.cli.tables import plain_table

if TYPE_CHECKING:
    from service.contract.vocabulary import Recipe, RecipeTerm

#: Marks a term that stands for another convention.
_STAND_IN = "*"


def published(recipes: Sequence[Recipe]) -> RenderableType:
    """Recipes in a line each: the weights of our losses, and where they come from."""
    table = plain_table("recipe", "weights", "source", wraps=["weights", "source"])
    for recipe in recipes:
        weights = ", ".join(_short(term) for term in recipe.terms)
        table.add_row(recipe.name, weights, recipe.source)
    if not any(term.note for recipe in recipes for term in recipe.terms):
        return table
    caption = f"{_STAND_IN} stands for another convention; `srtune recipes NAME` says which"
    return Group(table, Text(caption, style="dim"))


def recipe(one: Recipe) -> RenderableType:
    """A recipe whole: each term in our parameters and in its authors' words, then what is beside."""
    head = _facts([("name", one.name), ("summary", one.summary), ("source", one.source)])
    parts: list[RenderableType] = [head]
    for term in one.terms:
        parts += [Text(""), _heading(term), Padding(_facts(_about(term)), (0, 0, 0, 2))]
    if one.notes:
        besides = _facts([("-", note) for note in one.notes])
        parts += [Text(""), Text("beside the losses", style="bold"), Padding(besides, (0, 0, 0, 2))]
    return Group(*parts)


def _short(term: RecipeTerm) -> str:
    return f"{term.loss} {number(term.weight)}{_STAND_IN if term.note else ''}"


def _heading(term: RecipeTerm) -> Text:
    heading = Text(f"{term.loss} {number(term.weight)}", style="bold")
    if term.factor == 1:
        return heading
    theirs = f"{number(term.weight / term.factor)} published × {number(term.factor)}"
    return heading.append(f" = {theirs}", style="not bold")


def _about(term: RecipeTerm) -> Iterator[tuple[str, str]]:
    yield "here", parameters(term.parameters) or "as it is by default"
    yield "original", term.original or "the same"
    if term.note:
        yield "differs", term.note


def _facts(rows: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> Table:
    facts = plain_table("", "value", wraps=["value"])
    facts.show_header = False
    for name, value in rows:
        facts.add_row(Text(name, style="bold" if name != "-" else ""), Text(value))
    return facts


def parameters(given: Mapping[str, Any]) -> str:
    """`kind vanilla, layers (conv5_4 1)`: parameters as people read them."""
    return ", ".join(f"{name} {_said(value)}" for name, value in given.items())


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({parameters(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)
