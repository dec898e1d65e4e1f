"""What is known of losses beside their code, read from the files in this folder and from docs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PICTURES = HERE.parents[2] / "docs" / "pictures" / "losses"


@dataclass(frozen=True)
class Note:
    """What a loss is good for, in words its code does not have."""

    line: str  #: for the index
    formula: str  #: LaTeX, as GitHub renders it
    papers: Mapping[str, str]  #: name to address, which may be empty
    use: str
    avoid: str
    equal: str | float  #: value for equal images


@dataclass(frozen=True)
class Row:
    """One convention of other code: what `losses.build` is given to be equal, or why nothing is."""

    theirs: str
    loss: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[str, ...] = ()  #: ids of stored values that prove it
    but: str = ""
    never: str = ""  #: why no parameters give it

    @property
    def call(self) -> str:
        """The call as a reader types it."""
        given = "".join(f", {name}={_literal(value)}" for name, value in self.parameters.items())
        return f'losses.build("{self.loss}"{given})'


@dataclass(frozen=True)
class Peer:
    """A code base at a version, with its conventions."""

    name: str
    version: str
    rows: tuple[Row, ...]


@cache
def notes() -> dict[str, Note]:
    """Return the notes by loss."""
    return {name: Note(**note) for name, note in _yaml("notes.yaml").items()}


@cache
def peers() -> tuple[Peer, ...]:
    """Return other code's conventions, in the order of the page."""
    return tuple(
        Peer(peer["peer"], peer["at"], tuple(_row(**row) for row in peer["rows"]))
        for peer in _yaml("peers.yaml")
    )


def text(name: str) -> str:
    """Return one of the pages' parts that are written by hand."""
    return (HERE / name).read_text(encoding="utf-8")


def measured(name: str) -> Any:
    """Return what a script of benchmarks left beside the pictures."""
    return json.loads((PICTURES / name).read_text(encoding="utf-8"))


def _yaml(name: str) -> Any:
    return yaml.safe_load(text(name))


def _row(theirs: str, case: str | list[str] = "", **given: Any) -> Row:
    cases = [case] if isinstance(case, str) else case
    return Row(
        theirs, cases=tuple(c for c in cases if c), parameters=given.pop("with", {}), **given
    )


def _literal(value: Any) -> str:
    """Return Python's spelling, with quotes as the formatter sets them."""
    return json.dumps(value) if isinstance(value, str) else repr(value).replace("'", '"')
