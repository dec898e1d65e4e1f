"""Who asks, what they may do, and what crosses HTTP about tokens, owners and the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from service.contract.errors import Forbidden

#: Names of tokens and owners: readable in a table, a path and a log line.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"


class Scope(StrEnum):
    """What a token allows; `admin` allows everything."""

    READ = "read"  #: look at studies, trials, workers and pages
    SUBMIT = "submit"  #: create studies and change one's own
    WORKER = "worker"  #: lease trials and report about them
    ADMIN = "admin"  #: everything


#: Whoever may submit or train may also look.
IMPLIED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.READ}),
    Scope.WORKER: frozenset({Scope.WORKER, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a token's id and owner, and all that its scopes allow."""

    id: str
    owner: str
    scopes: frozenset[Scope]

    @property
    def admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def check(self, scope: Scope) -> None:
        """Pass if this caller may do this; Forbidden says what is missing."""
        if scope not in self.scopes:
            raise Forbidden(
                f"the token {self.id} of {self.owner} allows {', '.join(sorted(self.scopes))}; "
                f"this needs {scope}"
            )


#: Whoever asks on a machine that nobody else can reach and where there are no tokens.
LOCAL = Caller("local", "local", frozenset(Scope))
#: Who holds the token of the service's own environment.
OPERATOR = Caller("operator", "operator", frozenset(Scope))
#: What the service does by itself.
SERVICE = Caller("service", "service", frozenset(Scope))


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TokenRequest(_Message):
    """A token to be made."""

    name: str = Field(pattern=NAME, description="What it is for; tokens may be revoked by it.")
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    owner: str = Field(
        default="local",
        pattern=NAME,
        description="Whose studies those will be that are submitted with it.",
    )
    valid_hours: float | None = Field(
        default=None, gt=0, le=24 * 3660, description="It expires after this; default: never."
    )


class TokenView(_Message):
    """A token as everybody may see it."""

    id: str
    name: str
    owner: str
    scopes: list[Scope]
    created: float = Field(description="Unix seconds, the database's clock.")
    expires: float | None
    revoked: bool
    last_used: float | None = Field(description="To about a minute.")


class NewToken(TokenView):
    """A token with its secret, which is shown this once and stored nowhere."""

    secret: str


class Quota(_Message):
    """What an owner's studies may take of the fleet together."""

    weight: float = Field(
        default=1.0, ge=0.01, le=100, description="Share of the fleet beside other owners."
    )
    max_running: int | None = Field(
        default=None, ge=0, lt=2**31, description="Trials in training at once; default: no limit."
    )
    gpu_hours: float | None = Field(
        default=None, ge=0, le=1e9, description="Device hours in all; default: no limit."
    )


class OwnerView(Quota):
    """An owner with the quota that was set."""

    name: str


class AuditEntry(_Message):
    """One change of state that a person, an operator or the service itself made."""

    id: int
    at: float = Field(description="Unix seconds, the database's clock.")
    actor: str = Field(description="A token's id; `local`, `operator` or `service`.")
    owner: str
    action: str = Field(examples=["study.create"])
    subject: str = Field(description="Id of the study, token, owner or worker.")
    detail: str
    request_id: str
