"""The page: what all losses share, one section each, other code's conventions, and what goes wrong."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from losses import SPECS, LossSpec
from service.cli.loss_docs.sources import Note, measured, notes, peers, text
from service.cli.loss_docs.tables import (
    convention_table,
    growth_table,
    needs,
    needs_table,
    parameter_table,
    table,
)

#: The order of the sections; a family that is not here comes last.
_FAMILIES = (
    "pixel", "structure", "edge", "frequency", "content", "perceptual", "texture", "adversarial",
    "cycle", "tv", "prior", "artefact", "quality",
)  # fmt: skip

_PICTURES = """\
## The losses

The pictures show what each loss asks for: HR, SR, and −∂L/∂SR, the direction in which a small step of gradient descent
would take each pixel, summed over the channels. Red wants to be brighter, blue darker; colours are full at the 99th
percentile, so that sizes are in the line below: *size* is ‖∂L/∂SR‖ over that of `l1`, *cosine* that with the gradient of
`l2`: at 1 a step raises PSNR as steeply as can be, at 0 not at all, below 0 it lowers it. SR is the bicubic ×4
enlargement of a photograph; 112 of 176 pixels a side are drawn. Discriminators and shrinking networks were trained for a
hundred steps on bicubic ×4; features are those of the packaged ImageNet weights (`srtune weights list`). Drawn by
`python -m benchmarks.loss_pictures docs/pictures/losses`.
"""

_PEERS = """\
## Other code in our names

What is on the left is equal to what is built on the right, value and gradient, with weight 1 and images in [0, 1]. ✓ names
a stored value (tests/vectors/losses), computed by that code or by one with its formula, that a test compares with what the
line builds; lines without it are read from the code. Class names are those its configurations use. A dash is a convention this library does not
have, and why.
"""


def page() -> str:
    """The whole page as Markdown; ValueError for a loss without notes."""
    usage = text("usage.md").replace("@index@", _index()).replace("@needs@", needs_table())
    sections = [_section(spec) for spec in _ordered()]
    conventions = [
        f"### {peer.name}\n\n{peer.version}\n\n{convention_table(peer)}\n" for peer in peers()
    ]
    traps = text("traps.md").replace("@growth@", growth_table())
    return "\n".join([usage, _PICTURES, *sections, _PEERS, *conventions, traps])


def _ordered() -> list[LossSpec]:
    """Return the losses by family, within one in the order of the notes."""
    known = {family: place for place, family in enumerate(_FAMILIES)}
    order = list(notes())
    return sorted(
        SPECS.values(),
        key=lambda spec: (known.get(spec.family, len(known)), order.index(spec.name)),
    )


def _index() -> str:
    rows = [
        (
            f"[`{spec.name}`](#{spec.name})",
            spec.family,
            spec.side,
            needs(spec),
            notes()[spec.name].line,
        )
        for spec in _ordered()
    ]
    head = ("loss", "family", "side", "needs", "what it is")
    after = ["", "In brackets: needed by some settings only."]
    return "\n".join(["## Index", "", table(head, rows), *after])


def _section(spec: LossSpec) -> str:
    note = notes()[spec.name]
    parts = [
        f"### {spec.name}",
        _facts(spec, note),
        f"```math\n{note.formula.strip()}\n```",
        *_conventions(spec),
        f"**Use it.** {note.use}",
        f"**Trouble.** {note.avoid}",
        f"![What {spec.name} asks for](pictures/losses/{spec.name}.png)",
        _sizes(measured("figures.json")[spec.name]),
        parameter_table(spec),
        f"Papers: {_papers(note)}.",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(spec: LossSpec, note: Note) -> str:
    low, high = spec.share
    facts = [
        f"{spec.family}, {spec.side}",
        f"share {low:g} to {high:g}",
        f"cost {spec.cost}",
        f"needs {needs(spec)}" if spec.needs or spec.may_need else "needs nothing",
        f"equal images: {note.equal}",
    ]
    facts += [] if spec.batch_mean else ["couples the images of a batch"]
    return " · ".join(facts)


def _conventions(spec: LossSpec) -> Iterator[str]:
    """Yield the paragraphs of a loss's own docstring, as Markdown."""
    for paragraph in (inspect.getdoc(spec.module) or "").split("\n\n"):
        yield _plain(" ".join(paragraph.split()))


def _plain(words: str) -> str:
    """Return text in which only what stands in backticks is code, and nothing emphasis or HTML."""
    pieces = re.split(r"(`[^`]*`)", words)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*<])", r"\\\1", piece) for piece in pieces
    )


def _sizes(views: list[dict[str, Any]]) -> str:
    rows = [
        (view["view"], f"{view['value']:g}", f"{view['size']:g}", f"{view['cosine']:.2f}")
        for view in views
    ]
    return table(("picture", "value", "size", "cosine"), rows, right="value size cosine")


def _papers(note: Note) -> str:
    return "; ".join(f"[{name}]({at})" if at else name for name, at in note.papers.items())
