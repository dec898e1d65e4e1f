"""What workers ask all the time, answered by the shortest way.

FastAPI looks through all routes twice and works out a dozen dependencies for every request, which
costs several times what these routes do. They are declared like all others, and documented by that;
here the same functions are called with the same arguments, found by one look into a table.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from service.api.context import Service, recognised
from service.api.observed import note
from service.contract.access import Scope as Allowed

#: Longer ids are none of ours; the declared routes say so.
_LONGEST = 64


@dataclass(frozen=True)
class _Straight:
    endpoint: Callable[..., Awaitable[Response]]
    path: str
    #: The parameter that takes the body, and what the body must be.
    name: str
    message: type[BaseModel]


class Straight(BaseRoute):
    """POST routes of workers at `prefix`/leases, in front of all others.

    Anything else than a plain request to one of them is left to the declared routes.
    """

    def __init__(self, prefix: str, routes: Iterable[BaseRoute]) -> None:
        self._base = f"{prefix}/leases"
        self._routes = {
            route.path.rpartition("/")[2]: _straight(route)
            for route in routes
            if isinstance(route, APIRoute) and route.path.startswith("/leases")
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "POST":
            return Match.NONE, {}
        path: str = scope["path"]
        if not path.startswith(self._base):
            return Match.NONE, {}
        lease, slash, verb = path[len(self._base) + 1 :].partition("/")
        if path == self._base:
            verb = "leases"
        elif not slash or verb == "leases" or not 0 < len(lease) <= _LONGEST:
            return Match.NONE, {}
        found = self._routes.get(verb)
        return (
            (Match.NONE, {}) if found is None else (Match.FULL, {"srtune.straight": (found, lease)})
        )

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        found, lease = scope["srtune.straight"]
        request = Request(scope, receive)
        note(scope, found.path, {"lease_id": lease} if lease else {})
        service: Service = scope["app"].state.service
        caller = await recognised(request)
        caller.check(Allowed.WORKER)
        given: dict[str, Any] = {found.name: _parsed(found.message, await request.body())}
        if lease:
            given["lease_id"] = lease
        answer = await found.endpoint(service=service, caller=caller, **given)
        await answer(scope, receive, send)


def _straight(route: APIRoute) -> _Straight:
    hints = get_type_hints(route.endpoint)
    name = next(
        name
        for name in inspect.signature(route.endpoint).parameters
        if isinstance(hints[name], type) and issubclass(hints[name], BaseModel)
    )
    return _Straight(route.endpoint, route.path, name, hints[name])


def _parsed(message: type[BaseModel], body: bytes) -> BaseModel:
    """The body as FastAPI reads it, with its words for what is wrong."""
    if not body:
        missing = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}
        raise RequestValidationError([missing])
    try:
        return message.model_validate(json.loads(body), from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in found]
        ) from error
    except json.JSONDecodeError as error:
        where = {"type": "json_invalid", "loc": ("body", error.pos), "input": {}}
        raise RequestValidationError([{**where, "msg": "JSON decode error"}]) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, "There was an error parsing the body") from error
