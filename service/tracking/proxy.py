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

from service.tracking.routes import EMPTY, SAFE, refusal

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: Headers that belong to one connection, or that say who asked: MLflow compares Host and Origin
#: with localhost and would refuse every browser that is elsewhere.
_NOT_FORWARDED = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "origin",
        "referer",
        "authorization",
        "cookie",
        "accept-encoding",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
    ]
)
_NOT_RETURNED = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "upgrade", "server", "date"]
)
_COMPRESSED = re.compile(r"(text/|application/(javascript|json))|image/svg")
_WORTH_COMPRESSING = 2000
_LARGEST_JSON = 1 << 20

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
) -> APIRouter:
    """Routes `/mlflow` and below, answered by the MLflow behind `transport`.

    `own_hosts` are names (`host:port`) under
    which browsers know us when something in between rewrites Host.
    """
    upstream = httpx2.AsyncClient(transport=transport, base_url=base_url, timeout=120.0)
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/mlflow", methods=["GET"])
    async def _home() -> Response:
        return RedirectResponse("/mlflow/")

    @routes.api_route("/mlflow/{path:path}", methods=_METHODS)
    async def _forward(path: str, request: Request) -> Response:
        if foreign(request, own_hosts):
            return PlainTextResponse("A page of another site may not change the lab book.", 403)
        if request.method == "GET" and path in EMPTY:
            return JSONResponse(EMPTY[path])
        if (refused := refusal(request.method, path)) is not None:
            return PlainTextResponse(refused[1], refused[0])
        try:
            answer = await upstream.send(await _question(upstream, path, request), stream=True)
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


async def _question(upstream: httpx2.AsyncClient, path: str, request: Request) -> httpx2.Request:
    headers = [(k, v) for k, v in request.headers.items() if k not in _NOT_FORWARDED]
    headers.append(("accept-encoding", "identity"))
    content: bytes | AsyncIterator[bytes] | None = None
    if path.endswith("mlflow/experiments/create"):
        content = await _without_location(request)
        headers = [(k, v) for k, v in headers if k != "content-length"]
    elif request.method not in SAFE:
        content = request.stream()
    # Quoted again from the path that was judged, so that MLflow reads what we read.
    target = upstream.base_url.raw_path.rstrip(b"/") + b"/" + quote(path).encode()
    if query := request.scope["query_string"]:
        target += b"?" + query
    url = upstream.base_url.copy_with(raw_path=target)
    return upstream.build_request(request.method, url, headers=headers, content=content)


async def _without_location(request: Request) -> bytes:
    """The body of a new experiment, unable to choose where on MLflow's disk it lives."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_JSON:
            return b"{}"
    try:
        fields = json.loads(body)
    except ValueError:
        return b"{}"
    if not isinstance(fields, dict):
        return b"{}"
    return json.dumps({k: v for k, v in fields.items() if k != "artifact_location"}).encode()


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
