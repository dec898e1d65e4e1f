"""Routes of trials and of what a study has found."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from service import once, results, scores, studies, views
from service.api.context import CallerDep, KeyDep, LogDep, ServiceDep, needs
from service.api.problems import documented
from service.contract.access import Scope
from service.contract.errors import (
    Forbidden,
    IllegalMove,
    InvalidRequest,
    KeyReused,
    NotFound,
    StudyNotFound,
    TrialNotFound,
)
from service.contract.trial import (
    Best,
    EnqueueRequest,
    Front,
    Importance,
    Page,
    TrackingRun,
    Transfer,
    TrialState,
    TrialView,
)
from service.models import Study, Trial
from service.ownership import check_owner

router = APIRouter(tags=["results"])
READ = [needs(Scope.READ)]


@router.get(
    "/studies/{ref}/trials",
    dependencies=READ,
    summary="List a study's trials by number",
    responses=documented(StudyNotFound),
)
def list_trials(
    service: ServiceDep,
    ref: str,
    state: Annotated[TrialState | None, Query(description="Only trials in this state.")] = None,
    cursor: Annotated[int, Query(ge=0, le=2**31 - 1, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page:
    """A page of trials with rungs and attempts."""
    with service.database.reading() as session:
        study = studies.find(session, ref)
        page, following = views.trial_page(session, study, state=state, cursor=cursor, limit=limit)
    return Page(items=page, next=following)


@router.get(
    "/studies/{ref}/trials/{number}",
    dependencies=READ,
    summary="One trial",
    responses=documented(StudyNotFound, TrialNotFound),
)
def get_trial(
    service: ServiceDep, ref: str, number: Annotated[int, Path(ge=0, le=2**31 - 1)]
) -> TrialView:
    """With its rungs, and every attempt at it."""
    with service.database.reading() as session:
        return views.trial_numbered(session, studies.find(session, ref), number)


@router.post(
    "/studies/{ref}/trials",
    status_code=201,
    dependencies=[needs(Scope.SUBMIT)],
    summary="Queue a point of your own",
    responses=documented(StudyNotFound, IllegalMove, InvalidRequest, Forbidden, KeyReused),
)
def enqueue(
    service: ServiceDep,
    caller: CallerDep,
    log: LogDep,
    key: KeyDep,
    ref: str,
    request: EnqueueRequest,
) -> TrialView:
    """Raw weights or gradient shares; it counts against the budget.

    A repeat with the same `Idempotency-Key` and body gets the first answer again.
    """
    with service.database.writing() as session:
        first = once.remembered(session, key)
        if first is not None:
            return TrialView.model_validate_json(json.dumps(first.body))
        study = studies.find(session, ref)
        check_owner(caller, study)
        trial = studies.add_trial(session, study.id, request, service.vocabulary)
        session.flush()
        log.note(session, "study.enqueue", study.id, f"{study.name}#{trial.number}")
        view = views.trial_views(session, study, [trial])[0]
        once.remember(session, key, json.loads(view.model_dump_json()))
    return view


@router.get(
    "/studies/{ref}/front",
    dependencies=READ,
    summary="The non-dominated trials",
    responses=documented(StudyNotFound),
)
def front(service: ServiceDep, ref: str) -> Front:
    """What no other complete trial beats in every objective, and the trials that are beaten."""
    with service.database.reading() as session:
        return results.front(session, studies.find(session, ref), service.vocabulary)


@router.get(
    "/studies/{ref}/best",
    dependencies=READ,
    summary="One point of the front",
    responses=documented(StudyNotFound, NotFound, InvalidRequest),
)
def best(
    service: ServiceDep,
    ref: str,
    prefer: Annotated[
        str | None, Query(description="A metric: its best trial instead of the knee.")
    ] = None,
) -> Best:
    """The knee of the front, or the best in one metric, beside the recipes."""
    with service.database.reading() as session:
        return results.best(session, studies.find(session, ref), service.vocabulary, prefer)


@router.get(
    "/studies/{ref}/importance",
    dependencies=READ,
    summary="Which term matters for which objective",
    responses=documented(StudyNotFound),
)
def importance(service: ServiceDep, ref: str) -> list[Importance]:
    """PED-ANOVA over the shares of the complete trials; empty while there are too few."""
    with service.database.reading() as session:
        return results.importance(session, studies.find(session, ref), service.vocabulary)


@router.get(
    "/studies/{ref}/transfer",
    dependencies=READ,
    summary="How far early rankings can be trusted",
    responses=documented(StudyNotFound),
)
def transfer(service: ServiceDep, ref: str) -> list[Transfer]:
    """Rank correlation of each rung with the end, per objective."""
    with service.database.reading() as session:
        return scores.transfer(session, studies.find(session, ref))


@router.get(
    "/trials/{uid}/tracking",
    response_model=TrackingRun,
    dependencies=READ,
    summary="Where a trial's pages are in MLflow",
    responses={**documented(TrialNotFound), 204: {"description": "Not opened yet; ask again."}},
)
def tracking(service: ServiceDep, uid: str) -> TrackingRun | Response:
    """Opened by the service in the background, soon after the first lease."""
    with service.database.reading() as session:
        trial = session.get(Trial, uid)
        if trial is None:
            raise TrialNotFound(f"no trial has the uid {uid}; its study may be deleted")
        study = session.get_one(Study, trial.study_id)
        if study.experiment_id is None or trial.run_id is None:
            return Response(status_code=204)
        return TrackingRun(experiment_id=study.experiment_id, run_id=trial.run_id)
