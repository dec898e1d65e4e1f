"""What a study's and a trial's pages in the lab book say, worked out from the rows alone.

Nothing here depends on when it is called, so writing a page twice changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.contract.study import StudyDefinition
from service.contract.trial import StudyState, TrialKind, TrialState
from service.models import Study, Trial
from service.tracking.labbook import Point, RunStatus

#: How a trial's state shows. FAILED and KILLED share MLflow's red cross, so what is a finding and
#: no error is FINISHED: pruned and diverged; the tag `srt.state` tells them apart.
STATUS: dict[TrialState, RunStatus] = {
    TrialState.QUEUED: "RUNNING",
    TrialState.LEASED: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.DIVERGED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.CANCELLED: "KILLED",
}
ENDED = frozenset({StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED})

_TAG_LENGTH = 5000


@dataclass(frozen=True)
class RunPage:
    """One run: what it is called, says and scored."""

    uid: str
    name: str
    status: RunStatus
    start_ms: int
    end_ms: int | None
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()


def definition_of(study: Study) -> StudyDefinition:
    """The study's definition; stored as JSON, whose lists strict models take only as JSON."""
    return StudyDefinition.model_validate_json(json.dumps(study.definition))


def trial_page(
    study: Study, trial: Trial, *, started: float | None, worker: str, link: str
) -> RunPage:
    """The run of a trial; `started` is when it was first leased, `link` its own page with us."""
    definition = definition_of(study)
    end = trial.finished if STATUS[trial.state] != "RUNNING" else None
    note = "\n\n".join(part for part in (trial.note, trial.reason, f"[Trial]({link})") if part)
    return RunPage(
        uid=trial.uid,
        name=run_name(trial),
        status=STATUS[trial.state],
        start_ms=_ms(started or trial.created),
        end_ms=None if end is None else _ms(end),
        tags={
            "srt.study_id": study.id,
            "srt.trial": str(trial.number),
            "srt.kind": trial.kind.value,
            "srt.origin": trial.origin,
            "srt.state": trial.state.value.upper(),
            "srt.attempts": str(trial.attempts),
            "srt.worker": worker,
            "srt.reason": trial.reason[:_TAG_LENGTH],
            "mlflow.note.content": note[:_TAG_LENGTH],
            "mlflow.user": "srtune",
            "mlflow.source.name": "srtune",
            "mlflow.source.type": "JOB",
        },
        params=_params(definition, trial),
        points=_results(trial),
    )


def run_name(trial: Trial) -> str:
    """`t007 l1=1.13 content=0.006`: what tells this trial from others in a chart's legend."""
    words = [f"t{trial.number:03d}"]
    if trial.kind is TrialKind.START:
        words.append("start")
    elif ":" in trial.origin:
        words.append(trial.origin.split(":", 1)[1] if trial.kind is not TrialKind.CONFIRM else "")
    if trial.kind is TrialKind.CONFIRM:
        words.append("confirm")
    words += [f"{term}={weight:.3g}" for term, weight in trial.weights.items() if weight]
    return " ".join(word for word in words if word)


def experiment_name(study: Study) -> str:
    # MLflow wants names that differ, for deleted experiments too.
    return f"{study.name} · {study.id}"


def experiment_note(study: Study, *, charts: str, link: str) -> str:
    """The experiment's description in Markdown; its first line shows in MLflow's list."""
    definition = definition_of(study)
    losses = ", ".join(term.key for term in definition.losses)
    first = (definition.description.strip().splitlines() or [""])[0]
    summary = f"Loss weights of {definition.model.name} ×{definition.data.scale}: {losses}."
    rows = [f"| {t.key} | {t.loss} | {t.weight} |" for t in definition.losses]
    reason = f" ({study.reason})" if study.reason else ""
    return "\n".join(
        [
            first or summary,
            "",
            f"{summary} Objectives: {', '.join(definition.objectives)}. "
            f"The study is {study.state.value}{reason}.",
            "",
            f"[Charts of this study]({charts}) · [Study]({link})",
            "",
            "| term | loss | weight |",
            "|---|---|---|",
            *rows,
        ]
    )


def study_page(study: Study, *, start_ms: int, trials: int) -> RunPage:
    """The extra run that carries the study's outcome."""
    return RunPage(
        uid=f"study-{study.id}",
        name="study outcome",
        status="FAILED" if study.state is StudyState.FAILED else "FINISHED",
        start_ms=start_ms,
        end_ms=_ms(study.finished or study.created),
        tags={
            "srt.study_id": study.id,
            "srt.kind": "study",
            "srt.state": study.state.value.upper(),
            "srt.reason": study.reason[:_TAG_LENGTH],
            "mlflow.user": "srtune",
            "mlflow.source.name": "srtune",
            "mlflow.source.type": "JOB",
            "mlflow.note.content": f"The front of {trials} complete trials: front.json.",
        },
    )


def _params(definition: StudyDefinition, trial: Trial) -> dict[str, str]:
    params = {
        "arch": definition.model.name,
        "scale": str(definition.data.scale),
        "steps": str(definition.training.steps),
        "seed": str(trial.seed),
        "origin": trial.origin,
    }
    for term, weight in trial.weights.items():
        params[f"w.{term}"] = f"{weight:.6g}"
        # Parallel coordinates have linear axes only.
        if weight > 0:
            params[f"w.{term}.log10"] = f"{math.log10(weight):.4f}"
    return params | {f"s.{term}": f"{share:.4f}" for term, share in trial.shares.items()}


def _results(trial: Trial) -> tuple[Point, ...]:
    if trial.state is not TrialState.COMPLETE:
        return ()
    values = dict(trial.metrics) | {"train_seconds": trial.train_seconds}
    at = _ms(trial.finished or trial.created)
    # Once at step 0 makes a bar chart; at another step it would be a line of one dot.
    return tuple((f"result/{key}", rounded(value), 0, at) for key, value in values.items())


def rounded(value: float) -> float:
    """Four digits: after the point from 1 on, significant ones below (MLflow shows ten)."""
    return round(value, 4) if abs(value) >= 1 else float(f"{value:.4g}")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """JSON that MLflow's artifact viewer shows as a table."""
    return json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}).encode()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
