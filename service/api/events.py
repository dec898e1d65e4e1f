"""Live news of a study, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from threading import Event

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from service import studies, views
from service.api.context import Service, ServiceDep, needs
from service.api.problems import documented
from service.contract.errors import StudyNotFound, Unavailable
from service.contract.trial import StudyView
from service.models import Study
from service.states import STUDY_ENDS
from service.tokens import Scope

router = APIRouter(tags=["studies"])
_LOOK_SECONDS = 0.5
#: Between changes the estimate of the time left still moves.
_REFRESH_SECONDS = 5.0
_PING_SECONDS = 15.0


@router.get(
    "/studies/{ref}/events",
    response_class=StreamingResponse,
    dependencies=[needs(Scope.READ)],
    summary="The study now, and after every change",
    responses={200: {"content": {"text/event-stream": {}}}, **documented(StudyNotFound)},
)
def events(request: Request, service: ServiceDep, ref: str) -> StreamingResponse:
    """`text/event-stream`; each `data` is a StudyView. Ends after the study's end."""
    with service.database.reading() as session:
        study_id = studies.find(session, ref).id
    return StreamingResponse(
        _stream(service, study_id, request.app.state.ending),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(service: Service, study_id: str, ending: Event) -> AsyncIterator[str]:
    sent: StudyView | None = None
    looked = spoken = time.monotonic()
    while not ending.is_set():  # whoever watches connects again, to who answers then
        stale = time.monotonic() - looked > _REFRESH_SECONDS
        try:
            view = await run_in_threadpool(_news, service, study_id, sent, stale)
        except StudyNotFound:
            return
        except Unavailable:
            view = None  # the database is away; the next look may find it again
        if view is not None:
            looked = time.monotonic()
            if sent is None or _differs(sent, view):
                sent, spoken = view, looked
                yield f"id: {view.revision}\nevent: study\ndata: {view.model_dump_json()}\n\n"
            if view.state in STUDY_ENDS:
                return
        if time.monotonic() - spoken > _PING_SECONDS:
            spoken = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_SECONDS)


def _news(service: Service, study_id: str, sent: StudyView | None, stale: bool) -> StudyView | None:
    """The study, unless it is as it was when last sent."""
    with service.database.reading() as session:
        study = session.get(Study, study_id)
        if study is None:
            raise StudyNotFound(f"the study {study_id} was deleted")
        if sent is not None and study.revision == sent.revision and not stale:
            return None
        return views.study_view(session, study, tracking_url=service.tracking_url)


def _differs(one: StudyView, other: StudyView) -> bool:
    return one.revision != other.revision or one.progress != other.progress
