"""The reverse proxy that puts MLflow on our own port, at `/mlflow`.

MLflow stays a separate process (listing runs in ours would cost our answers half a second), speaks
only to us, and trusts us: authentication, the choice of routes and the protection against foreign
web pages are decided here. Bodies stream in both directions.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote, urlsplit

import httpx2
from fastapi import APIRouter, Request
from fastapi.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from service.tracking.admission import Admission
from service.tracking.bodies import Objection
from service.tracking.routes import EMPTY, SAFE, evasive, refusal

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: What MLflow is told of a request beside its path and body. Not who asked (it compares Host and
#: Origin with localhost and would refuse every browser that is elsewhere, and it believes forged
#: forwarding headers), not our secrets, not its own switches.
_FORWARDED = frozenset(
    [
        "accept",
        "accept-language",
        "cache-control",
        "content-length",
        "content-type",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "range",
        "user-agent",
    ]
)
_NOT_RETURNED = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "upgrade", "server", "date"]
)
_COMPRESSED = re.compile(r"(text/|application/(javascript|json))|image/svg")
_WORTH_COMPRESSING = 2000

# What a browser that was never here starts with: classic runs instead of language-model traces.
_DEFAULTS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.settings.telemetry.enabled_v1": "false",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
}
_SCRIPT = (
    # MLflow's own front page is about language models; ours are the studies.
    "<script>if(!location.hash||location.hash==='#/')location.hash='#/experiments';"
    f"try{{for(const [k,v] of Object.entries({json.dumps(_DEFAULTS)}))"
    "if(localStorage.getItem(k)===null)localStorage.setItem(k,v)}catch(e){}</script>"
)


def router(
    transport: httpx2.AsyncBaseTransport,
    *,
    base_url: str = "http://localhost",
    own_hosts: Sequence[str] = (),
    admission: Admission | None = None,
) -> APIRouter:
    """Routes `/mlflow` and below, answered by the MLflow behind `transport`.

    Whatever guards these routes puts the caller into `request.state.caller`; without one nothing
    can be written. `own_hosts` are names (`host:port`) under which browsers know us when something
    in between rewrites Host. Without `admission` only admins write.
    """
    admitted = admission or Admission(lambda _: None)
    upstream = httpx2.AsyncClient(transport=transport, base_url=base_url, timeout=120.0)
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/mlflow", methods=["GET"])
    async def _home() -> Response:
        return RedirectResponse("/mlflow/")

    @routes.api_route("/mlflow/{path:path}", methods=_METHODS)
    async def _forward(path: str, request: Request) -> Response:
        if (ours := _answered_here(path, request, own_hosts)) is not None:
            return ours
        try:
            content = await admitted.content(path, request)
            question = _question(upstream, path, request, content)
            answer = await upstream.send(question, stream=True)
        except Objection as objection:
            return PlainTextResponse(objection.sentence, objection.status)
        except (httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError):
            return _starting()
        except httpx2.TimeoutException:
            return PlainTextResponse("MLflow did not answer in time.", 504)
        except ClientDisconnect:
            return Response(status_code=499)
        if path in ("", "index.html") and answer.status_code == 200:
            return await _index(answer, request)
        return _answer(answer, path, request)

    return routes


def unix_transport(socket: str) -> httpx2.AsyncHTTPTransport:
    """MLflow on a unix socket; a connection per request, so that none is stale after a restart."""
    return httpx2.AsyncHTTPTransport(uds=socket, limits=_limits())


def remote_transport() -> httpx2.AsyncHTTPTransport:
    """MLflow at a URL."""
    return httpx2.AsyncHTTPTransport(limits=_limits())


def _limits() -> httpx2.Limits:
    return httpx2.Limits(max_connections=64, max_keepalive_connections=0)


def foreign(request: Request, own_hosts: Sequence[str] = ()) -> bool:
    """Whether a browser sends this on behalf of another site's page, and it could change things."""
    origin = request.headers.get("origin")
    if request.method in SAFE or origin is None:
        return False
    return urlsplit(origin).netloc not in {request.headers.get("host", ""), *own_hosts}


def _question(
    upstream: httpx2.AsyncClient,
    path: str,
    request: Request,
    content: bytes | AsyncIterator[bytes] | None,
) -> httpx2.Request:
    headers = [(k, v) for k, v in request.headers.items() if k in _FORWARDED]
    headers.append(("accept-encoding", "identity"))
    if content is None or isinstance(content, bytes):
        # A page that is asked for with a body is asked for without; a judged body has its own size.
        headers = [(k, v) for k, v in headers if k != "content-length"]
    # Quoted again from the path that was judged, so that MLflow reads what we read.
    target = upstream.base_url.raw_path.rstrip(b"/") + b"/" + quote(path).encode()
    if query := request.scope["query_string"]:
        target += b"?" + query
    url = upstream.base_url.copy_with(raw_path=target)
    return upstream.build_request(request.method, url, headers=headers, content=content)


def _answered_here(path: str, request: Request, own_hosts: Sequence[str]) -> Response | None:
    """The answer to what MLflow is never asked."""
    if foreign(request, own_hosts):
        return PlainTextResponse("A page of another site may not change the lab book.", 403)
    if request.method == "GET" and path in EMPTY:
        return JSONResponse(EMPTY[path])
    refused = refusal(request.method, path)
    if refused is None and any(evasive(inside) for inside in request.query_params.getlist("path")):
        refused = 404, "There is no such file here."
    return None if refused is None else PlainTextResponse(refused[1], refused[0])


async def _index(answer: httpx2.Response, request: Request) -> Response:
    page = (await answer.aread()).decode()
    await answer.aclose()
    page = page.replace("<head>", "<head>" + _SCRIPT, 1)
    headers = {"cache-control": "no-cache", "vary": "accept-encoding"}
    body = page.encode()
    if _takes_gzip(request):
        body = zlib.compress(body, 6, wbits=31)
        headers["content-encoding"] = "gzip"
    return Response(body, media_type="text/html", headers=headers)


def _answer(answer: httpx2.Response, path: str, request: Request) -> Response:
    headers = {k: v for k, v in answer.headers.items() if k not in _NOT_RETURNED}
    if path.startswith("static-files/static/"):
        # These names carry a digest of their content.
        headers["cache-control"] = "public, max-age=31536000, immutable"
    body: AsyncIterator[bytes] = answer.aiter_raw()
    if _takes_gzip(request) and _worth_compressing(answer):
        headers.pop("content-length", None)
        headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        body = _gzipped(body)
    # Closed even when the browser goes away in mid-body.
    return StreamingResponse(
        body, answer.status_code, headers=headers, background=BackgroundTask(answer.aclose)
    )


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _worth_compressing(answer: httpx2.Response) -> bool:
    # A part of a file (206) must stay the bytes of the file.
    return (
        answer.status_code == 200
        and answer.request.method == "GET"
        and "content-encoding" not in answer.headers
        and _COMPRESSED.match(answer.headers.get("content-type", "")) is not None
        and int(answer.headers.get("content-length", _WORTH_COMPRESSING)) >= _WORTH_COMPRESSING
    )


async def _gzipped(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(4, zlib.DEFLATED, 31)
    async for chunk in body:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _starting() -> Response:
    return PlainTextResponse(
        "MLflow is starting; this page loads again by itself.",
        503,
        headers={"retry-after": "2", "refresh": "2", "cache-control": "no-store"},
    )
