"""`srtune token ...`: bearer tokens, made on the service's own database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.folder import opened
from service.cli.options import Data, Json
from service.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from service.contract.access import TokenView

app = typer.Typer(
    help="Make, list and revoke bearer tokens on the data folder.", no_args_is_help=True
)

DAY = 86_400.0


@app.command("create")
def create(
    scope: Annotated[
        list[str],
        typer.Option("--scope", help="read, submit, worker or admin; repeat for several."),
    ],
    name: Annotated[str, typer.Option("--name", help="What it is for; to revoke it by.")] = "token",
    owner: Annotated[
        str, typer.Option("--owner", help="Whose studies those are that it submits.")
    ] = "local",
    expires_days: Annotated[
        float | None, typer.Option("--expires-days", min=0.001, help="Days.  [default: for ever]")
    ] = None,
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make a token and show it, this once."""
    from service import audit
    from service.cli.output import answer, note
    from service.contract.access import OPERATOR, Scope
    from service.tokens import make_token

    scopes = [Scope(word) for word in _known(scope)]
    _check_name("--name", name)
    _check_name("--owner", owner)
    valid_for = None if expires_days is None else expires_days * DAY
    with opened(data, database) as found, found.writing() as session:
        token, secret = make_token(session, name, scopes, owner=owner, valid_for=valid_for)
        detail = f"{name} of {owner}: {', '.join(token.scopes)}"
        audit.note(session, OPERATOR, "token.create", token.id, detail)
        made = {"id": token.id, "name": name, "owner": owner, "scopes": scope, "token": secret}
    if not as_json:
        note("shown this once; pass it with --token or SRTUNE_TOKEN:")
    answer(made, secret, as_json=as_json)


@app.command("list")
def list_(data: Data = None, database: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show every token ever made, without its secret, which nobody knows any more."""
    from service.cli.folder import when
    from service.cli.output import answer
    from service.cli.tables import plain_table
    from service.tokens import list_tokens

    with opened(data, database) as found, found.reading() as session:
        tokens = list_tokens(session)
    columns = ("id", "name", "owner", "scopes", "state", "made", "expires", "last used")
    table = plain_table(*columns)
    for token in tokens:
        times = (when(token.created), when(token.expires), when(token.last_used))
        table.add_row(
            token.id, token.name, token.owner, ", ".join(token.scopes), _state(token), *times
        )
    answer(tokens, table if tokens else "no tokens yet", as_json=as_json)


@app.command("revoke")
def revoke(
    ref: Annotated[
        str, typer.Argument(metavar="TOKEN", help="Its id; or a name: then all of that name.")
    ],
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make a token worthless; a running service refuses it within a second."""
    from service import audit
    from service.cli.errors import WrongUsage
    from service.cli.output import answer
    from service.contract.access import OPERATOR
    from service.contract.errors import TokenNotFound
    from service.tokens import revoke_token

    with opened(data, database) as found, found.writing() as session:
        try:
            revoked = revoke_token(session, ref)
        except TokenNotFound:
            revoked = []
        for token in revoked:
            detail = f"{token.name} of {token.owner}"
            audit.note(session, OPERATOR, "token.revoke", token.id, detail)
    if not revoked:
        raise WrongUsage(f"there is no valid token with the id or name {ref!r}")
    answer({"revoked": len(revoked)}, f"revoked {len(revoked)}", as_json=as_json)


def _known(words: list[str]) -> list[str]:
    from service.cli.errors import WrongUsage
    from service.contract.access import Scope

    known = [member.value for member in Scope]
    if unknown := [word for word in words if word not in known]:
        raise WrongUsage(f"--scope {unknown[0]!r} is none of {', '.join(known)}")
    return words


def _check_name(option: str, name: str) -> None:
    import re

    from service.cli.errors import WrongUsage
    from service.contract.access import NAME

    if not re.fullmatch(NAME, name):
        raise WrongUsage(f"{option} {name!r} may have letters, digits and . _ @ - only, at most 64")


def _state(token: TokenView) -> str:
    if token.revoked:
        return "revoked"
    return "expired" if token.expires is not None and token.expires <= time.time() else "valid"
