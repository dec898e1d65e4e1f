"""`srtune owner ...`: what the studies of an owner may take of the fleet together."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.folder import opened
from service.cli.options import Data, Json
from service.cli.serve import DatabaseUrl

app = typer.Typer(help="Set and list owners' quotas on the data folder.", no_args_is_help=True)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(metavar="OWNER", help="As in the owner's tokens.")],
    weight: Annotated[float, typer.Option("--weight", help="Share beside other owners.")] = 1.0,
    max_running: Annotated[
        int | None,
        typer.Option("--max-running", help="Trials in training at once.  [default: no limit]"),
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option("--gpu-hours", help="Device hours in all.  [default: no limit]"),
    ] = None,
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Give an owner this quota instead of the one before; what is not given is not limited."""
    from pydantic import ValidationError

    from service import audit
    from service.cli.errors import WrongUsage
    from service.cli.output import answer
    from service.contract.access import OPERATOR, Quota
    from service.owners import set_quota

    try:
        quota = Quota(weight=weight, max_running=max_running, gpu_hours=gpu_hours)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        option = str(wrong["loc"][0]).replace("_", "-")
        raise WrongUsage(f"--{option} {wrong['input']}: {wrong['msg'].lower()}") from error
    with opened(data, database) as found, found.writing() as session:
        view = set_quota(session, name, quota)
        audit.note(session, OPERATOR, "owner.set", name, quota.model_dump_json())
    answer(view, f"{name}: weight {view.weight:g}", as_json=as_json)


@app.command("list")
def list_(data: Data = None, database: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show owners with a quota; all others have no limits and weight 1."""
    from service.cli.output import answer, number
    from service.cli.tables import plain_table
    from service.owners import list_quotas

    with opened(data, database) as found, found.reading() as session:
        owners = list_quotas(session)
    table = plain_table("owner", "weight", "at once", "device hours")
    for owner in owners:
        limits = (number(owner.max_running), number(owner.gpu_hours))
        table.add_row(owner.name, f"{owner.weight:g}", *limits)
    answer(owners, table if owners else "no quotas", as_json=as_json)
