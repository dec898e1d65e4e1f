"""Routes of studies: submit, browse, steer."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response

from service import studies, views
from service.api.context import ServiceDep, needs
from service.api.problems import documented
from service.contract.errors import (
    IllegalMove,
    InvalidRequest,
    InvalidStudy,
    KeyReused,
    Problem,
    StudyNotFound,
)
from service.contract.study import StudyDefinition
from service.contract.trial import Page, StudyState, StudyView
from service.tokens import Scope

router = APIRouter(tags=["studies"])

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
    service: ServiceDep,
    definition: Definition,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> StudyView:
    """Stores the study and offers its start job to the workers.

    A repeat with the same `Idempotency-Key` and body gets the first answer again.
    """
    key = None
    if idempotency_key is not None:
        body = json.dumps(definition, sort_keys=True).encode()
        key = studies.Key(idempotency_key, body)
    with service.database.writing() as session:
        answer = None if key is None else studies.remembered(session, key)
        if answer is not None:
            return StudyView.model_validate_json(json.dumps(answer))
        study = studies.create(session, definition, service.vocabulary)
        session.flush()
        view = views.study_view(session, study, tracking_url=service.tracking_url)
        if key is not None:
            studies.remember(session, key, json.loads(view.model_dump_json()))
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
    responses=documented(StudyNotFound, IllegalMove),
)
def pause(service: ServiceDep, ref: str) -> StudyView:
    """What trains goes on to its end. Pausing twice is pausing once."""
    with service.database.writing() as session:
        study = studies.pause(session, ref)
        return views.study_view(session, study, tracking_url=service.tracking_url)


@router.post(
    "/studies/{ref}/resume",
    dependencies=[needs(Scope.SUBMIT)],
    summary="Go on after a pause",
    responses=documented(StudyNotFound, IllegalMove),
)
def resume(service: ServiceDep, ref: str) -> StudyView:
    """Resuming what runs changes nothing."""
    with service.database.writing() as session:
        study = studies.resume(session, ref, service.vocabulary)
        session.flush()
        view = views.study_view(session, study, tracking_url=service.tracking_url)
    service.wake()
    return view


@router.post(
    "/studies/{ref}/stop",
    dependencies=[needs(Scope.SUBMIT)],
    summary="End a study now",
    responses=documented(StudyNotFound, IllegalMove),
)
def stop(service: ServiceDep, ref: str) -> StudyView:
    """Cancels what waits and what trains; results so far stay."""
    with service.database.writing() as session:
        study = studies.stop(session, ref)
        session.flush()
        return views.study_view(session, study, tracking_url=service.tracking_url)


@router.delete(
    "/studies/{ref}",
    status_code=204,
    dependencies=[needs(Scope.SUBMIT)],
    summary="Remove a study with its results",
    responses=documented(StudyNotFound),
)
def delete(service: ServiceDep, ref: str) -> Response:
    """Stops it and removes its trials and stored objects; pages in MLflow stay."""
    with service.database.writing() as session:
        orphans = studies.delete(session, ref)
    # Only after the commit: a rolled back deletion must not have lost its checkpoints.
    for digest in orphans:
        service.blobs.remove(digest)
    return Response(status_code=204)


@router.get(
    "/schema/study", dependencies=[needs(Scope.READ)], summary="JSON schema of a definition"
)
def schema() -> dict[str, Any]:
    """For editors: `# yaml-language-server: $schema=<this address>`."""
    found = StudyDefinition.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Study"}
