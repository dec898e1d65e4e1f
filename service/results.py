"""What a study has found: the front, the best, what matters."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean, stdev

from sqlalchemy.orm import Session

from service.contract.errors import InvalidRequest, NotFound
from service.contract.study import StudyDefinition
from service.contract.trial import Best, Front, Importance, Repeats, TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.models import Study, Trial
from service.phases import BASELINES
from service.queue import trials_of
from service.tuner import Observation
from service.tuner import front as front_of
from service.tuner import importance as importance_of
from service.tuner import knee as knee_of
from service.views import trial_views


def front(session: Session, study: Study, vocabulary: Vocabulary) -> Front:
    """The trials no other beats, worst to best in the first objective, and the beaten ones."""
    definition, complete = study.parsed(), _complete(session, study)
    directions = _directions(definition, vocabulary)
    members = set(front_of(_values(definition, complete), directions)) if complete else set()
    best_last = directions[0] == "maximize"
    complete_by_first = sorted(
        enumerate(complete),
        key=lambda pair: pair[1].metrics[definition.objectives[0]],
        reverse=not best_last,
    )
    return Front(
        objectives=definition.objectives,
        directions=directions,
        members=trial_views(session, study, [t for i, t in complete_by_first if i in members]),
        dominated=trial_views(
            session, study, [t for i, t in complete_by_first if i not in members]
        ),
    )


def best(session: Session, study: Study, vocabulary: Vocabulary, prefer: str | None) -> Best:
    """One point of the front, why this one, and which baselines it beats."""
    definition, complete = study.parsed(), _complete(session, study)
    if not complete:
        raise NotFound(f"study {study.name} has no complete trial yet; wait for one")
    chosen, rule = _chosen(definition, vocabulary, complete, prefer)
    baselines = [t for t in complete if t.origin.startswith(BASELINES)]
    directions = _directions(definition, vocabulary)
    return Best(
        trial=trial_views(session, study, [chosen])[0],
        rule=rule,
        baselines=trial_views(session, study, baselines),
        beats={
            baseline.origin: {
                name: _better(chosen.metrics[name], baseline.metrics[name], direction)
                for name, direction in zip(definition.objectives, directions, strict=True)
            }
            for baseline in baselines
        },
        repeats=repeats(session, study),
    )


def repeats(session: Session, study: Study) -> list[Repeats]:
    """Mean and deviation of every trial that was trained again with other seeds."""
    groups = {trial.number: [trial] for trial in _complete(session, study)}
    for trial in _complete(session, study, TrialKind.CONFIRM):
        groups[int(trial.origin.removeprefix("confirm:"))].append(trial)
    return [_repeats(group) for group in groups.values() if len(group) > 1]


def _repeats(group: list[Trial]) -> Repeats:
    first = group[0]
    names = [name for name in first.metrics if all(name in trial.metrics for trial in group)]
    scores = {name: [trial.metrics[name] for trial in group] for name in names}
    return Repeats(
        number=first.number,
        origin=first.origin,
        seeds=len(group),
        mean={name: fmean(values) for name, values in scores.items()},
        deviation={name: stdev(values) for name, values in scores.items()},
    )


def importance(session: Session, study: Study, vocabulary: Vocabulary) -> list[Importance]:
    """How much each term's share matters; empty with too few complete trials."""
    definition, complete = study.parsed(), _complete(session, study)
    return importance_of(
        definition,
        vocabulary,
        [
            Observation(
                number=trial.number,
                coordinates=trial.coordinates,
                state="complete",
                values=values,
                shares=trial.shares,
            )
            for trial, values in zip(complete, _values(definition, complete), strict=True)
        ],
    )


def _chosen(
    definition: StudyDefinition,
    vocabulary: Vocabulary,
    complete: list[Trial],
    prefer: str | None,
) -> tuple[Trial, str]:
    if prefer is None:
        values = _values(definition, complete)
        index = knee_of(values, _directions(definition, vocabulary))
        return complete[index], "the knee: nearest to the best of every objective at once"
    scored = [trial for trial in complete if prefer in trial.metrics]
    if prefer not in vocabulary.metrics or not scored:
        known = ", ".join([*definition.objectives, *definition.metrics])
        raise InvalidRequest(f"no trial has a score {prefer!r} to prefer; use one of {known}")
    most = vocabulary.metrics[prefer].direction == "maximize"
    pick = max if most else min
    return pick(scored, key=lambda t: t.metrics[prefer]), f"the best in {prefer}"


def _complete(session: Session, study: Study, kind: TrialKind = TrialKind.SEARCH) -> list[Trial]:
    return [
        trial for trial in trials_of(session, study, kind) if trial.state is TrialState.COMPLETE
    ]


def _directions(definition: StudyDefinition, vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.metrics[name].direction for name in definition.objectives]


def _values(definition: StudyDefinition, trials: Iterable[Trial]) -> list[list[float]]:
    return [[trial.metrics[name] for name in definition.objectives] for trial in trials]


def _better(one: float, other: float, direction: str) -> bool:
    return one > other if direction == "maximize" else one < other
