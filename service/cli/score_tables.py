"""A report of scores as Rich tables: frames, pooled, and what to know before believing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.tables import plain_table

if TYPE_CHECKING:
    from workers.scoring import Report
    from workers.scoring.table import Row

_ALL = 24  #: frames, up to which the table has every one
_WORST = 10
_WIDE = 10.0  #: scores, from which two decimals are enough
_ARROWS = {"maximize": " ↑", "minimize": " ↓", "": ""}
_JUDGES = ("vmaf_neg", "vmaf", "psnr_y", "ssim_y")


def shown(report: Report) -> RenderableType:
    """Frames, pooled scores, definition, flags."""
    return Group(
        _frames(report), Text(""), _pooled(report), Text(""), _facts(report), *_flags(report)
    )


def _frames(report: Report) -> RenderableType:
    names = list(report.pooled)
    decimals = _decimals(report)
    lines, above = report.frames, list[Text]()
    if len(lines) > _ALL:
        judge = next((name for name in _JUDGES if name in names), names[0])
        falling = report.definition["metrics"][judge]["direction"] == "minimize"
        lines = sorted(lines, key=lambda line: _score(line, judge), reverse=falling)[:_WORST]
        # Not the table's title, which would be broken to the width of a narrow table.
        above = [Text(f"the {_WORST} worst of {len(report.frames)} frames by {judge}")]
    table = plain_table("frame", *_heads(report), right=_heads(report))
    for line in lines:
        cells = (_number(_score(line, name), decimals[name]) for name in names)
        table.add_row(str(line["name"]), *cells)
    return Group(*above, table)


def _pooled(report: Report) -> Table:
    heads = _heads(report)
    decimals = _decimals(report)
    table = plain_table(f"{len(report.frames)} frames", *heads, right=heads)
    for kind in ("mean", "min", "max", "harmonic_mean"):
        cells = (_number(scores[kind], decimals[name]) for name, scores in report.pooled.items())
        table.add_row(kind.replace("_", " "), *cells, style="bold" if kind == "mean" else "")
    return table


def _facts(report: Report) -> Table:
    definition = report.definition
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(max_width=130)
    facts = {name: definition[name] for name in ("luma", "rgb", "motion")}
    facts["border"] = (
        f"{definition['border']} pixels are cut for PSNR, SSIM and others; none for VMAF"
    )
    if vmaf := definition["vmaf"]:
        models = ", ".join(vmaf["models"].values()) or "features only"
        facts["VMAF"] = f"{models}, computed by {vmaf['engine']}: {vmaf['version']}"
    if definition["baseline"]:
        facts["baseline"] = definition["baseline"]
    for name, fact in facts.items():
        table.add_row(Text(name, style="bold"), fact)
    return table


def _flags(report: Report) -> list[RenderableType]:
    lines: list[RenderableType] = [Text("")] if report.flags else []
    for flag in report.flags:
        name = flag["flag"].replace("_", " ")
        lines.append(Text.assemble((f"⚑ {name}: ", "bold yellow"), flag["message"]))
    return lines


def _heads(report: Report) -> list[str]:
    described = report.definition["metrics"]
    return [name + _ARROWS[described[name]["direction"]] for name in report.pooled]


def _score(line: Row, name: str) -> float:
    return float(line[name])


def _decimals(report: Report) -> dict[str, int]:
    """The same number of decimals all the way down a column."""
    tops = {
        name: max(abs(float(scores[side] or 0)) for side in ("min", "max"))
        for name, scores in report.pooled.items()
    }
    return {name: 2 if top >= _WIDE else 4 for name, top in tops.items()}


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"
