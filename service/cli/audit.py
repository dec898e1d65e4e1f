"""`srtune audit`: who changed what."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.folder import opened
from service.cli.options import Data, Json
from service.cli.serve import DatabaseUrl


def audit(
    subject: Annotated[
        str | None,
        typer.Argument(help="Id of a study, token, owner or worker.  [default: everything]"),
    ] = None,
    last: Annotated[int, typer.Option("--last", min=1, max=10_000, help="Entries.")] = 50,
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Show changes of state that people and the service made, newest first."""
    from service.audit import entries
    from service.cli.folder import when
    from service.cli.output import answer
    from service.cli.tables import plain_table

    with opened(data, database) as found, found.reading() as session:
        log, _ = entries(session, subject=subject, cursor=None, limit=last)
    table = plain_table("when", "who", "owner", "what", "subject", "detail", wraps=["detail"])
    for entry in log:
        who = (entry.actor, entry.owner, entry.action, entry.subject, entry.detail)
        table.add_row(when(entry.at), *who)
    answer(log, table if log else "nothing was changed yet", as_json=as_json)
