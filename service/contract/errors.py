"""Every error that crosses HTTP: raised by the service, raised again by the client.

SrtuneError
├── InvalidStudy      422  the definition has problems; each is listed
├── InvalidRequest    422  any other body or parameter that cannot be right
├── Unauthorized      401  no token, or one the service does not know
├── Forbidden         403  the token lacks the scope, or this is somebody else's
├── NotFound          404
│   ├── StudyNotFound
│   ├── TrialNotFound
│   ├── WorkerNotFound
│   ├── BlobNotFound
│   ├── TokenNotFound
│   └── OwnerNotFound
├── LeaseLost         409  another worker may hold this trial now
├── IllegalMove       409  the state does not allow it
├── KeyReused         409  the same Idempotency-Key with another body
├── BlobMismatch      422  the bytes do not have the promised digest
├── TooLarge          413  the body is over the limit
├── UnsupportedMedia  415  the body is not of the type this route takes
├── WrongHost         421  the request was meant for another server
├── RequestTimeout    408  the request did not arrive in time
├── RateLimited       429  too many requests, or too many wrong tokens
├── StorageFull       507  the disk of the service is full
├── Unavailable       503  try again later
└── ServerUnreachable 503  the client could not talk to the service at all
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """One thing that is wrong in a request, with what would be right."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="Where: `losses[1].parameters.eps`.")
    message: str = Field(description="One sentence that names the remedy.")
    value: Any = Field(default=None, description="What was given.")
    allowed: list[str] = Field(default_factory=list, description="Names that would be accepted.")
    nearest: str | None = Field(default=None, description="The accepted name closest to the value.")


class SrtuneError(Exception):
    """The root; `status` is the HTTP status it travels with."""

    status = 500

    def __init__(self, detail: str, *, problems: list[Problem] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = problems or []


class InvalidStudy(SrtuneError):
    """The study definition has problems; each one is listed."""

    status = 422


class InvalidRequest(SrtuneError):
    """The request cannot be right as it stands."""

    status = 422


class Unauthorized(SrtuneError):
    """A token is needed, and this is none that the service knows."""

    status = 401


class Forbidden(SrtuneError):
    """The token is known, but lacks the scope for this, or this is somebody else's."""

    status = 403


class NotFound(SrtuneError):
    """There is no such thing here."""

    status = 404


class StudyNotFound(NotFound):
    """No study has this id or name."""


class TrialNotFound(NotFound):
    """The study has no trial of this number."""


class WorkerNotFound(NotFound):
    """No worker has this id; register again."""


class BlobNotFound(NotFound):
    """No stored object has this digest."""


class TokenNotFound(NotFound):
    """No token has this id or name."""


class OwnerNotFound(NotFound):
    """No quota was set for this owner."""


class LeaseLost(SrtuneError):
    """Another worker may hold this trial now; stop training it."""

    status = 409


class IllegalMove(SrtuneError):
    """The present state does not allow this."""

    status = 409


class KeyReused(SrtuneError):
    """This Idempotency-Key came before with another body."""

    status = 409


class BlobMismatch(SrtuneError):
    """The bytes do not have the digest they were announced with."""

    status = 422


class TooLarge(SrtuneError):
    """The body is larger than the service accepts."""

    status = 413


class UnsupportedMedia(SrtuneError):
    """The body is not of the type that this route takes."""

    status = 415


class WrongHost(SrtuneError):
    """The request names a server that this is not."""

    status = 421


class RequestTimeout(SrtuneError):
    """The request did not arrive in time."""

    status = 408


class RateLimited(SrtuneError):
    """Too many requests, or too many wrong tokens; wait as long as `Retry-After` says."""

    status = 429

    def __init__(
        self, detail: str, *, problems: list[Problem] | None = None, retry_after: float = 1.0
    ) -> None:
        super().__init__(detail, problems=problems)
        self.retry_after = retry_after


class StorageFull(SrtuneError):
    """The service has no room left to store this."""

    status = 507


class Unavailable(SrtuneError):
    """The service cannot do this now; the same request may succeed later."""

    status = 503


class ServerUnreachable(SrtuneError):
    """Nothing answered at the server's address."""

    status = 503


def _tree(root: type[SrtuneError]) -> dict[str, type[SrtuneError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


#: Class name → class, so that the client raises what the service raised.
BY_NAME: dict[str, type[SrtuneError]] = _tree(SrtuneError)
