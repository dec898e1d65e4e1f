"""A study while it runs: snapshots over HTTP, shown live or as a line per change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.cli import tables
from service.cli.errors import StudyFailed
from service.cli.output import duration, number
from service.client import Client
from service.contract.errors import ServerUnreachable, Unavailable
from service.contract.trial import Front, StudyState, StudyView, TrialKind, TrialState, TrialView
from service.contract.worker import WorkerState, WorkerView

ENDED = frozenset({StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED})
_EVERY = 1.0
#: A front longer than this is cut in the live view; `srtune study front` shows all of it.
_ROWS = 12


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment; `away` says why newer figures are missing."""

    study: StudyView
    running: list[TrialView] = field(default_factory=list)
    front: Front | None = None
    workers: list[WorkerView] = field(default_factory=list)
    away: str = ""


def snapshots(client: Client, ref: str, *, every: float = _EVERY) -> Iterator[Snapshot]:
    """The study now and each second, until it has ended; outlives restarts of the service.

    The client should have patience 0, so that an absent service shows at once.
    """
    last = _look(client, ref, None)  # a study that is not there is an error, not an outage
    yield last
    while last.study.state not in ENDED:
        time.sleep(every)
        try:
            last = _look(client, ref, last)
        except (ServerUnreachable, Unavailable) as error:
            last = Snapshot(last.study, last.running, last.front, last.workers, away=error.detail)
        yield last


def watch(client: Client, ref: str, console: Console, *, beside: RenderableType = "") -> StudyView:
    """Show the study until it has ended, and return it; StudyFailed with the reason if it failed."""
    states = snapshots(client, ref)
    study = _live(states, console, beside) if console.is_terminal else _lines(states, console)
    if study.state is StudyState.FAILED:
        raise StudyFailed(f"study {study.name} failed: {study.reason}")
    return study


def view(shot: Snapshot, *, beside: RenderableType = "") -> RenderableType:
    """The live picture: overall bar, running trials, workers, front."""
    parts: list[RenderableType] = [_head(shot), _overall(shot)]
    if shot.away:
        parts.append(Text("the service does not answer; trying again ...", style="yellow"))
    parts += ["", _running(shot)]
    if shot.front is not None and shot.front.members:
        parts += ["", _front(shot.front)]
    return Group(*parts, *(["", beside] if beside else []))


def changes(before: Snapshot | None, after: Snapshot) -> Iterator[str]:
    """What happened between two snapshots, a sentence each."""
    study, known = after.study, before.study if before else None
    if known is None or known.state is not study.state:
        yield f"study {study.name} ({study.id}) is {study.state.value}" + _because(study.reason)
    if bool(after.away) != bool(before and before.away):
        yield after.away or "the service answers again"
    held = {trial.uid for trial in before.running} if before else set()
    for trial in after.running:
        if trial.uid not in held:
            yield f"{_title(trial)} trains on {worker_of(trial)}"
    done = known.progress.done_trials if known else 0
    if study.progress.done_trials != done:
        left = duration(study.progress.seconds_left)
        more = f"; about {left} left" if study.progress.seconds_left else ""
        yield f"{study.progress.done_trials} of {study.progress.budget_trials} trials done{more}"


def worker_of(trial: TrialView) -> str:
    """The name of the worker that trains it now."""
    return trial.attempts[-1].worker if trial.attempts else "–"


def _look(client: Client, ref: str, last: Snapshot | None) -> Snapshot:
    study = client.study(ref)
    running = client.trials(study.id, state=TrialState.LEASED.value)
    news = last is None or last.study.progress.done_trials != study.progress.done_trials
    front = client.front(study.id) if news or last is None else last.front
    return Snapshot(study, running, front, client.workers())


def _live(states: Iterator[Snapshot], console: Console, beside: RenderableType) -> StudyView:
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        for shot in states:
            live.update(view(shot, beside=beside))
    return shot.study


def _lines(states: Iterator[Snapshot], console: Console) -> StudyView:
    before: Snapshot | None = None
    ended: set[str] = set()
    for shot in states:
        for line in changes(before, shot):
            console.print(f"{time.strftime('%H:%M:%S')}  {line}", soft_wrap=True)
        for trial in _new_members(shot.front, ended):
            console.print(f"          {_title(trial)}: {_scores(trial)}", soft_wrap=True)
        before = shot
    assert before is not None  # snapshots yields at least once
    return before.study


def _new_members(front: Front | None, seen: set[str]) -> Iterator[TrialView]:
    for trial in [*front.members, *front.dominated] if front else []:
        if trial.uid not in seen:
            seen.add(trial.uid)
            yield trial


def _head(shot: Snapshot) -> Text:
    study = shot.study
    reason = f"  {study.reason}" if study.reason else ""
    return Text.assemble(
        (study.name, "bold"), f"  {study.id}  ", tables.state(study.state), (reason, "dim")
    )


def _overall(shot: Snapshot) -> RenderableType:
    progress = shot.study.progress
    # What running trials did counts too, or the bar would stand still for minutes.
    searched = [trial for trial in shot.running if trial.kind is TrialKind.SEARCH]
    part = sum(trial.step / max(1, trial.steps) for trial in searched)
    grid = Table.grid(padding=(0, 2))
    # The estimate needs a finished trial; before that there is nothing honest to say.
    left = (
        f"about {duration(progress.seconds_left)} left"
        if progress.seconds_left is not None
        else "time left unknown before a trial has finished"
    )
    grid.add_row(
        ProgressBar(total=progress.budget_trials, completed=progress.done_trials + part, width=40),
        f"{progress.done_trials}/{progress.budget_trials} trials",
        "" if shot.study.state in ENDED else left,
    )
    return grid


def _running(shot: Snapshot) -> RenderableType:
    if not shot.running:
        live = [worker for worker in shot.workers if worker.state is WorkerState.ACTIVE]
        if shot.study.state in ENDED:
            return ""
        if not live:
            return Text("no worker is there; start one with `srtune worker`", style="yellow")
        return Text(f"{len(live)} workers, none trains this study now", style="dim")
    table = tables.plain_table("trial", "", "step", "it/s", "worker", right=("step", "it/s"))
    for trial in shot.running:
        table.add_row(
            _title(trial),
            ProgressBar(total=_steps(trial, shot.study), completed=trial.step, width=24),
            f"{trial.step}/{_steps(trial, shot.study)}",
            f"{trial.steps_per_second:.1f}",
            worker_of(trial),
        )
    return table


def _front(front: Front) -> RenderableType:
    shown = Front(
        objectives=front.objectives,
        directions=front.directions,
        members=front.members[-_ROWS:],
        dominated=[],
    )
    count = len(front.members) + len(front.dominated)
    return tables.front(shown, title=f"front: {len(front.members)} of {count} complete trials")


def _steps(trial: TrialView, study: StudyView) -> int:
    """All steps of a trial; the start has its own number, of generator and discriminator."""
    warmup = study.definition.training.warmup
    if trial.kind is TrialKind.START:
        return warmup.steps + warmup.discriminator_steps
    return max(1, trial.steps)


def _title(trial: TrialView) -> str:
    return f"trial {trial.number} ({tables.label(trial.origin)})"


def _scores(trial: TrialView) -> str:
    return " ".join(f"{metric}={number(value)}" for metric, value in trial.metrics.items())


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
