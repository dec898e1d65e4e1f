"""What belongs to whom: studies to owners, workers to the tokens they registered with."""

from __future__ import annotations

from sqlalchemy.orm import Session

from service.contract.access import LOCAL, Caller
from service.contract.errors import Forbidden
from service.models import Study, Worker
from service.tokens import is_valid


def check_owner(caller: Caller, study: Study) -> None:
    """Pass if this caller may change this study; Forbidden names the owner."""
    if not caller.admin and caller.owner != study.owner:
        raise Forbidden(
            f"study {study.name} belongs to {study.owner}; a token of {caller.owner} may look at "
            f"it, but only one of {study.owner} or an admin's may change it"
        )


def speaks_for(caller: Caller, worker: Worker) -> bool:
    """Whether requests of this caller may be this worker's."""
    return caller.admin or worker.token_id is None or worker.token_id == caller.id


def check_speaks(caller: Caller, worker: Worker) -> None:
    """Pass if requests of this caller may be this worker's."""
    if not speaks_for(caller, worker):
        raise Forbidden(
            f"worker {worker.name} registered with another token than {caller.id}; "
            "use that one, or register under another name"
        )


def take(session: Session, caller: Caller, worker: Worker) -> None:
    """Let the caller be the one who speaks for a worker that registers (again).

    A name that was registered with a token of somebody else is theirs as long as the token is
    valid; afterwards, as after a renewal of tokens, whoever registers has it.
    """
    held = worker.token_id
    if held not in (None, LOCAL.id) and not speaks_for(caller, worker):
        assert held is not None
        if is_valid(session, held):
            raise Forbidden(
                f"the name {worker.name} belongs to a worker with another token; "
                "register under another name, or let an admin revoke that token"
            )
    worker.token_id = caller.id
