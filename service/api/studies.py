"""Routes of studies: submit, browse, steer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from sqlalchemy.orm import Session

from service import once, studies, views
from service.api.context import CallerDep, KeyDep, Log, LogDep, ServiceDep, needs
from service.api.problems import documented
from service.contract.access import Caller, Scope
from service.contract.errors import (
    Forbidden,
    IllegalMove,
    InvalidRequest,
    InvalidStudy,
    KeyReused,
    Problem,
    StudyNotFound,
)
from service.contract.study import StudyDefinition
from service.contract.trial import Page, StudyState, StudyView
from service.models import Study
from service.ownership import check_owner
from service.states import locked

router = APIRouter(tags=["studies"])
#: Between asking whether an object is stored and referring to it; the reaper clears the rest later.
_IN_USE_SECONDS = 600.0

EXAMPLE = {
    "name": "photos-x2",
    "data": {"train": ["/data/DIV2K_train_HR"], "validation": ["/data/DIV2K_valid_HR"]},
    "model": {"name": "espcn"},
    "losses": [{"loss": "l1"}, {"loss": "content"}, {"loss": "adversarial", "optional": True}],
    "search": {"recipes": ["pixel", "esrgan"], "seed": 1},
    "objectives": ["psnr_y", "hf_energy_error"],
    "budget": {"trials": 40},
}
#: Taken as any JSON, because the contract finds all faults at once where a parser stops at shapes.
Definition = Annotated[
    Any,
    Body(
        description="A study definition; its schema is at GET /api/v1/schema/study.",
        examples=[EXAMPLE],
    ),
]
#: ... but documented as what it must be, field by field.
_AS_DEFINITION: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/StudyDefinition"}}
        }
    }
}


@router.post(
    "/studies",
    status_code=201,
    dependencies=[needs(Scope.SUBMIT)],
    summary="Submit a study",
    responses=documented(InvalidStudy, KeyReused),
    openapi_extra=_AS_DEFINITION,
)
def submit(
    service: ServiceDep, caller: CallerDep, log: LogDep, key: KeyDep, definition: Definition
) -> StudyView:
    """Stores the study and offers its start job to the workers.

    It belongs to the owner of the token. A repeat with the same `Idempotency-Key` and body gets
    the first answer again.
    """
    with service.database.writing() as session:
        first = once.remembered(session, key)
        if first is not None:
            return StudyView.model_validate_json(json.dumps(first.body))
        study = studies.create(session, definition, service.vocabulary, owner=caller.owner)
        session.flush()
        log.note(session, "study.create", study.id, study.name)
        view = views.study_view(session, study, tracking_url=service.tracking_url)
        once.remember(session, key, json.loads(view.model_dump_json()))
    service.wake()
    return view


@router.post(
    "/studies/validate",
    dependencies=[needs(Scope.READ)],
    summary="Check a study, store nothing",
    openapi_extra=_AS_DEFINITION,
)
def validate(service: ServiceDep, definition: Definition) -> list[Problem]:
    """Every problem that a submission would be refused for; an empty list if there is none."""
    return studies.problems(definition, service.vocabulary)


@router.get(
    "/studies",
    dependencies=[needs(Scope.READ)],
    summary="List studies, newest first",
    responses=documented(InvalidRequest),
)
def list_studies(
    service: ServiceDep,
    state: Annotated[StudyState | None, Query(description="Only studies in this state.")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page:
    """A page of studies with their progress."""
    with service.database.reading() as session:
        found, following = studies.page(session, state=state, cursor=cursor, limit=limit)
        page = [
            views.study_view(session, study, tracking_url=service.tracking_url) for study in found
        ]
    return Page(items=page, next=following)


@router.get(
    "/studies/{ref}",
    dependencies=[needs(Scope.READ)],
    summary="A study with its progress",
    responses=documented(StudyNotFound),
)
def get_study(service: ServiceDep, ref: str) -> StudyView:
    """`ref` is the id, or the name: then the newest study of that name."""
    with service.database.reading() as session:
        study = studies.find(session, ref)
        return views.study_view(session, study, tracking_url=service.tracking_url)


@router.post(
    "/studies/{ref}/pause",
    dependencies=[needs(Scope.SUBMIT)],
    summary="Pause: lease nothing new",
    responses=documented(StudyNotFound, IllegalMove, Forbidden),
)
def pause(service: ServiceDep, caller: CallerDep, log: LogDep, ref: str) -> StudyView:
    """What trains goes on to its end. Pausing twice is pausing once."""
    with service.database.writing() as session, _steering(session, caller, log, ref) as study:
        studies.pause(session, study.id)
        return views.study_view(session, study, tracking_url=service.tracking_url)


@router.post(
    "/studies/{ref}/resume",
    dependencies=[needs(Scope.SUBMIT)],
    summary="Go on after a pause",
    responses=documented(StudyNotFound, IllegalMove, Forbidden),
)
def resume(service: ServiceDep, caller: CallerDep, log: LogDep, ref: str) -> StudyView:
    """Resuming what runs changes nothing."""
    with service.database.writing() as session, _steering(session, caller, log, ref) as study:
        studies.resume(session, study.id, service.vocabulary)
        session.flush()
        view = views.study_view(session, study, tracking_url=service.tracking_url)
    service.wake()
    return view


@router.post(
    "/studies/{ref}/stop",
    dependencies=[needs(Scope.SUBMIT)],
    summary="End a study now",
    responses=documented(StudyNotFound, IllegalMove, Forbidden),
)
def stop(service: ServiceDep, caller: CallerDep, log: LogDep, ref: str) -> StudyView:
    """Cancels what waits and what trains; results so far stay."""
    with service.database.writing() as session, _steering(session, caller, log, ref) as study:
        studies.stop(session, study.id)
        session.flush()
        return views.study_view(session, study, tracking_url=service.tracking_url)


@router.delete(
    "/studies/{ref}",
    status_code=204,
    dependencies=[needs(Scope.SUBMIT)],
    summary="Remove a study with its results",
    responses=documented(StudyNotFound, Forbidden, KeyReused),
)
def delete(service: ServiceDep, caller: CallerDep, log: LogDep, key: KeyDep, ref: str) -> Response:
    """Stops it and removes its trials and stored objects; pages in MLflow stay.

    Send an `Idempotency-Key` when `ref` is a name: without one a repeat would find the next study
    of that name.
    """
    orphans: set[str] = set()
    with service.database.writing() as session:
        if once.remembered(session, key) is None:
            study = studies.find(session, ref)
            check_owner(caller, study)
            log.note(session, "study.delete", study.id, study.name)
            orphans = studies.delete(session, study.id)
            once.remember(session, key, None)
    # Only after the commit: a rolled back deletion must not have lost its checkpoints. And not what
    # was just uploaded or asked for: another study with the same bytes may be about to refer to it.
    for digest in orphans:
        service.blobs.remove(digest, untouched=_IN_USE_SECONDS)
    return Response(status_code=204)


@contextmanager
def _steering(session: Session, caller: Caller, log: Log, ref: str) -> Iterator[Study]:
    """The study, if the caller may change it; its change of state, if there is one, is noted."""
    study = locked(session, studies.find(session, ref).id)
    check_owner(caller, study)
    before = study.state
    yield study
    if study.state is not before:
        log.note(session, f"study.{study.state}", study.id, f"{study.name}, was {before}")


@router.get(
    "/schema/study", dependencies=[needs(Scope.READ)], summary="JSON schema of a definition"
)
def schema() -> dict[str, Any]:
    """For editors: `# yaml-language-server: $schema=<this address>`."""
    found = StudyDefinition.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Study"}
