"""What the loss linter found, as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.cli.output import number
from service.cli.tables import plain_table
from service.contract.lint import LintFinding, LintReport, Severity

_STYLE: dict[Severity, str] = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "yellow",
    Severity.NOTE: "cyan",
}


def report(found: LintReport) -> RenderableType:
    """The table of terms, and under it every finding with its rule."""
    head = f"{found.batch} crops of {found.patch} px, unweighted; share = w·‖∂L/∂θ‖ of all"
    return Group(_terms(found), Text(head, style="dim"), "", *findings(found))


def findings(found: LintReport) -> Iterator[RenderableType]:
    """One paragraph a finding, worst first, and how many there are."""
    for finding in found.findings:
        yield _finding(finding)
    counts = Counter(finding.severity for finding in found.findings)
    said = [f"{counts[s]} {s.value}{'s' if counts[s] > 1 else ''}" for s in Severity if counts[s]]
    yield Text(", ".join(said) if said else "nothing to object to", style="bold")


def _terms(found: LintReport) -> Table:
    heads = ("weight", "value", "‖∂L/∂SR‖", "‖∂L/∂θ‖", "share", "ms")
    table = plain_table("term", *heads, right=heads)
    for row in found.rows:
        table.add_row(
            row.term,
            f"{number(row.weight)}{'*' if row.searched else ' '}",
            _said(row.value),
            _said(row.image_gradient),
            _said(row.parameter_gradient),
            f"{row.share:.1%}",
            f"{row.milliseconds:.1f}",
        )
    if any(row.searched for row in found.rows):
        table.caption = "* searched: the weight at which all searched terms pull alike"
        table.caption_justify = "left"
    return table


def _finding(finding: LintFinding) -> RenderableType:
    style = _STYLE[finding.severity]
    head = Text.assemble((finding.severity.value, style), f" [{finding.rule}] ")
    head.append(finding.term or "study", style="bold")
    return Group(head, Padding(Text(finding.message), (0, 0, 0, 2)))


def _said(value: float | None) -> str:
    return "not finite" if value is None else number(value)
