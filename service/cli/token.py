"""`srtune token ...`: bearer tokens, made on the service's own database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import Data, Json
from service.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from service.db import Database

app = typer.Typer(help="Make and revoke bearer tokens on the data folder.", no_args_is_help=True)

DAY = 86_400.0


@app.command("create")
def create(
    scope: Annotated[
        list[str],
        typer.Option("--scope", help="read, submit, worker or admin; repeat for several."),
    ],
    name: Annotated[str, typer.Option("--name", help="Whose it is; to revoke it by.")] = "token",
    expires_days: Annotated[
        float | None, typer.Option("--expires-days", min=0.001, help="Days.  [default: for ever]")
    ] = None,
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make a token and show it, this once."""
    from service.cli.errors import WrongUsage
    from service.cli.output import answer, note
    from service.tokens import Scope, create_token

    known = [member.value for member in Scope]
    if unknown := [word for word in scope if word not in known]:
        raise WrongUsage(f"--scope {unknown[0]!r} is none of {', '.join(known)}")
    valid_for = None if expires_days is None else expires_days * DAY
    with _opened(data, database) as opened, opened.writing() as session:
        secret = create_token(session, name, [Scope(word) for word in scope], valid_for=valid_for)
    if not as_json:
        note("shown this once; pass it with --token or SRTUNE_TOKEN:")
    answer({"name": name, "scopes": scope, "token": secret}, secret, as_json=as_json)


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The name it was made with.")],
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make every token of a name worthless."""
    from service.cli.errors import WrongUsage
    from service.cli.output import answer
    from service.tokens import revoke_token

    with _opened(data, database) as opened, opened.writing() as session:
        count = revoke_token(session, name)
    if not count:
        raise WrongUsage(f"there is no valid token named {name!r}")
    answer({"revoked": count}, f"revoked {count}", as_json=as_json)


@contextmanager
def _opened(data: Path | None, url: str | None) -> Iterator[Database]:
    """The service's database, which may be running or may never have run yet."""
    from service.cli.serve import settings_from
    from service.db import Database
    from service.schema import upgrade

    settings = settings_from(data=data, database=url)
    if settings.database is None:
        settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()
