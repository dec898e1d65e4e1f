"""Every error as one problem document (RFC 9457), so that clients can raise it again."""

from __future__ import annotations

import math
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service import trail
from service.contract.errors import (
    BY_NAME,
    Forbidden,
    InvalidRequest,
    NotFound,
    Problem,
    RateLimited,
    RequestTimeout,
    SrtuneError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    WrongHost,
)

MEDIA_TYPE = "application/problem+json"
_RETRY_SECONDS = "2"
_ANYTHING = TypeAdapter(dict[str, Any])


class ProblemDocument(BaseModel):
    """What went wrong, for programs and for people."""

    type: str = Field(description="`about:blank`: the title says it all.", examples=["about:blank"])
    title: str = Field(description="The status in words.", examples=["Conflict"])
    status: int = Field(description="The HTTP status.", examples=[409])
    detail: str = Field(description="One sentence: what, and what to do.")
    error: str = Field(description="The error's name in the client.", examples=["LeaseLost"])
    problems: list[Problem] = Field(description="Each thing that is wrong with the request.")


def problem_response(error: SrtuneError, *, headers: dict[str, str] | None = None) -> Response:
    """An error as the answer it travels in."""
    trail.note(error=_public_name(type(error)))
    document = ProblemDocument(
        type="about:blank",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        error=_public_name(type(error)),
        problems=error.problems,
    )
    extra = dict(headers or {})
    if isinstance(error, Unavailable):
        extra["Retry-After"] = _RETRY_SECONDS
    if isinstance(error, RequestTimeout):
        extra["Connection"] = "close"  # what comes late would be taken for another request
    if isinstance(error, RateLimited):
        extra["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, Unauthorized):
        extra["WWW-Authenticate"] = 'Basic realm="srtune: any user, a token as password", Bearer'
    # Through the adapter, because a problem's `value` may be anything, NaN included.
    body = _ANYTHING.dump_json(document.model_dump())
    return Response(body, status_code=error.status, media_type=MEDIA_TYPE, headers=extra)


def documented(*errors: type[SrtuneError]) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: which errors it answers with, and when."""
    sentences: dict[int | str, list[str]] = {}
    for error in errors:
        first_line = (error.__doc__ or "").strip().splitlines()[0]
        sentences.setdefault(error.status, []).append(f"`{error.__name__}`: {first_line}")
    return {
        status: {"description": "\n\n".join(lines), "content": {MEDIA_TYPE: {"schema": _schema()}}}
        for status, lines in sentences.items()
    }


@cache
def _schema() -> dict[str, Any]:
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


#: What any route of the API may answer, because it is decided before the route is reached.
EVERYWHERE = documented(
    InvalidRequest,
    Unauthorized,
    Forbidden,
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
    WrongHost,
    RateLimited,
    Unavailable,
)


def install(app: FastAPI) -> None:
    """Make every error of this app leave as a problem document."""
    app.add_exception_handler(SrtuneError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unexpected)


async def _own(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SrtuneError)
    return problem_response(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        Problem(path=_path(found["loc"]), message=found["msg"], value=_plain(found.get("input")))
        for found in error.errors()
    ]
    sentence = "; ".join(f"{p.path}: {p.message}" for p in problems)
    return problem_response(InvalidRequest(sentence, problems=problems))


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem_response(NotFound(f"there is no {path} here; see /docs"))
    if error.status_code == HTTPStatus.BAD_REQUEST:
        # FastAPI's own: bytes that are no text, nesting without end, numbers of 5,000 digits.
        return problem_response(InvalidRequest("the body cannot be read; send JSON in UTF-8"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        known = (error.headers or {}).get("Allow", "another method")
        other = SrtuneError(f"{path} does not take {request.method}; it takes {known}")
    else:
        other = SrtuneError(str(error.detail))
    other.status = error.status_code
    return problem_response(other, headers=dict(error.headers or {}))


async def _unexpected(request: Request, _error: Exception) -> Response:
    # The log has the traceback, under the same id; the outside gets no inside.
    name = {"x-request-id": str(getattr(request.state, "request_id", ""))}
    return problem_response(
        SrtuneError("the service has a bug here; its log says more"), headers=name
    )


def _path(location: tuple[int | str, ...]) -> str:
    written = ""
    for part in location[1:] or location:
        written += f"[{part}]" if isinstance(part, int) else f".{part}" if written else str(part)
    return written


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else None


def _public_name(kind: type[SrtuneError]) -> str:
    """The nearest name the client knows; finer kinds are the service's own matter."""
    return next(each.__name__ for each in kind.__mro__ if BY_NAME.get(each.__name__) is each)
