"""Studies, trials and fronts as Rich tables; each function takes views and returns a renderable."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.output import duration, number
from service.contract.trial import (
    Best,
    Front,
    Repeats,
    StudyState,
    StudyView,
    TrialState,
    TrialView,
)

STATE_STYLE: dict[str, str] = {
    StudyState.ACTIVE: "green",
    StudyState.CONFIRMING: "green",
    StudyState.PAUSED: "yellow",
    StudyState.FINISHED: "bold green",
    StudyState.FAILED: "bold red",
    StudyState.STOPPED: "yellow",
    TrialState.LEASED: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.CANCELLED: "dim",
}


def plain_table(
    *columns: str, title: str | None = None, right: Iterable[str] = (), wraps: Iterable[str] = ()
) -> Table:
    """A table with nothing but bold heads; only the columns of `wraps` may be broken."""
    table = Table(
        title=title, box=None, title_justify="left", title_style="bold", padding=(0, 2, 0, 0)
    )
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            header_style="bold",
            no_wrap=column not in wraps,
        )
    return table


def studies(views: Sequence[StudyView]) -> RenderableType:
    """One line per study."""
    if not views:
        return "no studies yet; `srtune study init` writes a first one"
    table = plain_table(
        "id", "name", "state", "trials", "time left", "created", "reason", wraps=["reason"]
    )
    for view in views:
        progress = view.progress
        table.add_row(
            view.id,
            view.name,
            state(view.state),
            f"{progress.done_trials}/{progress.budget_trials}",
            duration(progress.seconds_left) if view.finished is None else "",
            clock(view.created),
            view.reason,
        )
    return table


def study(view: StudyView) -> RenderableType:
    """Everything about one study but its trials."""
    table = Table.grid(padding=(0, 2))
    states = ", ".join(f"{count} {name}" for name, count in view.progress.states.items() if count)
    definition = view.definition
    rows: list[tuple[str, RenderableType]] = [
        ("id", view.id),
        ("state", Text.assemble(state(view.state), f"  {view.reason}" if view.reason else "")),
        (
            "trials",
            f"{view.progress.done_trials} of {view.progress.budget_trials} done; with the start {states}",
        ),
        ("device hours", number(view.progress.gpu_hours)),
        ("time left", duration(view.progress.seconds_left)),
        ("model", f"{definition.model.name} ×{definition.data.scale}"),
        ("losses", ", ".join(term.key for term in definition.losses)),
        ("objectives", ", ".join(definition.objectives)),
        ("created", clock(view.created)),
    ]
    if view.tracking_url:
        rows.append(("MLflow", view.tracking_url))
    for name, shown in rows:
        table.add_row(Text(name, style="bold"), shown)
    return Group(Text(view.name, style="bold"), table)


def trials(views: Sequence[TrialView], objectives: Sequence[str]) -> RenderableType:
    """One line per trial with its objectives and weights."""
    if not views:
        return "no trials yet"
    terms = list(dict.fromkeys(term for view in views for term in view.weights))
    names = [*objectives, *(f"w.{term}" for term in terms)]
    table = plain_table(
        "#",
        "origin",
        "state",
        "step",
        *names,
        "reason",
        right=("#", "step", *names),
        wraps=["reason"],
    )
    for view in views:
        table.add_row(
            str(view.number),
            view.origin,
            state(view.state),
            f"{view.step}/{view.steps}",
            *(number(view.metrics.get(metric)) for metric in objectives),
            *(number(view.weights.get(term)) for term in terms),
            view.reason,
        )
    return table


def front(found: Front, *, title: str | None = None, chosen: int | None = None) -> RenderableType:
    """The non-dominated trials with all their scores and weights."""
    if not found.members:
        return "no front yet: no trial is complete"
    metrics = list(dict.fromkeys([*found.objectives, *_metrics(found.members)]))
    arrows = dict(zip(found.objectives, found.directions, strict=True))
    heads = [f"{name} {_arrow(arrows[name])}" if name in arrows else name for name in metrics]
    terms = list(dict.fromkeys(term for view in found.members for term in view.weights))
    weights = [f"w.{term}" for term in terms]
    table = plain_table("trial", "origin", *heads, *weights, title=title, right=(*heads, *weights))
    for view in found.members:
        mark = " ◀" if view.number == chosen else ""
        table.add_row(
            f"{view.number}{mark}",
            view.origin,
            *(number(view.metrics.get(metric)) for metric in metrics),
            *(number(view.weights.get(term)) for term in terms),
            style="bold" if mark else "",
        )
    return table


def best(found: Best, *, objectives: Sequence[str]) -> RenderableType:
    """The chosen point beside the baselines, as they were trained here, and who beats whom."""
    views = [found.trial, *found.baselines]
    terms = list(dict.fromkeys(term for view in views for term in view.weights))
    heads = [*(f"w.{term}" for term in terms), *objectives]
    table = plain_table("", *heads, "chosen is better in", right=heads)
    for view in views:
        chosen = view.uid == found.trial.uid
        table.add_row(
            f"trial {view.number} (chosen)" if chosen else label(view.origin),
            *(number(view.weights.get(term)) for term in terms),
            *(number(view.metrics.get(metric)) for metric in objectives),
            "" if chosen else _better(found.beats.get(view.origin, {})),
            style="bold" if chosen else "",
        )
    return Group(Text(f"chosen by {found.rule}"), table, *_repeats(found.repeats, objectives))


def _repeats(found: Sequence[Repeats], objectives: Sequence[str]) -> list[RenderableType]:
    """Mean ± deviation of what was trained with several seeds; nothing before it was."""
    if not found:
        return []
    table = plain_table(
        "trial", "origin", "seeds", *objectives, title="With other seeds", right=objectives
    )
    for one in found:
        table.add_row(
            str(one.number),
            label(one.origin),
            str(one.seeds),
            *(f"{number(one.mean[m])} ± {number(one.deviation[m])}" for m in objectives),
        )
    return [Text(""), table]


def label(origin: str) -> str:
    """`recipe:esrgan` as people say it."""
    return origin.partition(":")[2] or origin


def state(value: StudyState | TrialState) -> Text:
    """A state in its colour."""
    return Text(value.value, style=STATE_STYLE.get(value, ""))


def clock(seconds: float) -> str:
    """A time in this machine's zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def is_baseline(view: TrialView) -> bool:
    """Whether the trial is the first searched pixel loss alone."""
    return view.origin == "baseline"


def _better(beats: dict[str, bool]) -> str:
    won = [metric for metric, better in beats.items() if better]
    return ", ".join(won) if won else "nothing"


def _arrow(direction: str) -> str:
    return "↑" if direction == "maximize" else "↓"


def _metrics(views: Sequence[TrialView]) -> list[str]:
    return list(dict.fromkeys(metric for view in views for metric in view.metrics))
