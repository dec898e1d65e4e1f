"""Routes of stored objects: checkpoints and weights, named by their SHA-256."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from service.api.context import ServiceDep, needs
from service.api.problems import documented
from service.contract.errors import BlobMismatch, BlobNotFound, StorageFull, TooLarge
from service.contract.trial import Blob
from service.tokens import Scope

router = APIRouter(tags=["objects"])
Digest = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hex.")
]
_CHUNK = 1 << 20


@router.head(
    "/blobs/{sha256}",
    response_class=Response,
    dependencies=[needs(Scope.READ)],
    summary="Whether an object is stored",
    responses=documented(BlobNotFound),
)
def head(service: ServiceDep, sha256: Digest) -> Response:
    """Asking keeps an object that nothing refers to yet from being cleared away."""
    path = service.blobs.path(sha256)
    service.blobs.keep(sha256)
    return Response(headers={"Content-Length": str(path.stat().st_size)})


@router.get(
    "/blobs/{sha256}",
    response_class=FileResponse,
    dependencies=[needs(Scope.READ)],
    summary="The bytes of an object",
    responses={200: {"content": {"application/octet-stream": {}}}, **documented(BlobNotFound)},
)
def get(service: ServiceDep, sha256: Digest) -> FileResponse:
    """Ranges are honoured."""
    return FileResponse(service.blobs.path(sha256), media_type="application/octet-stream")


@router.put(
    "/blobs/{sha256}",
    status_code=201,
    dependencies=[needs(Scope.WORKER)],
    summary="Store an object",
    responses=documented(BlobMismatch, TooLarge, StorageFull),
)
async def put(service: ServiceDep, sha256: Digest, request: Request) -> Blob:
    """The body is the bytes, of any size up to the limit; stored whole or not at all."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > service.blobs.limit:
        raise TooLarge(
            f"{announced} bytes are more than {service.blobs.limit}; raise SRTUNE_MAX_BLOB"
        )
    with service.blobs.incoming(sha256) as incoming:
        held = bytearray()
        async for chunk in request.stream():
            held += chunk
            if len(held) >= _CHUNK:
                await run_in_threadpool(incoming.write, bytes(held))
                held.clear()
        await run_in_threadpool(incoming.write, bytes(held))
        return await run_in_threadpool(incoming.finish)
