"""`srtune worker`: one process that pulls trials and trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.log import LogJson, configure, debugging
from service.cli.options import DEFAULT_SERVER, Server, Token
from service.cli.parent import Parent, die_with


def worker(
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=64, help="Trials trained side by side.")
    ] = 1,
    folder: Annotated[
        Path, typer.Option("--folder", help="Checkpoints and curves on their way.", file_okay=False)
    ] = Path("srtune-worker"),
    name: Annotated[
        str | None, typer.Option("--name", help="Unique name.  [default: host:process]")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="key=value a study may ask for; repeatable.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of a CPU worker.")] = 1,
    parent: Parent = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write every event as a JSON object to stdout.")
    ] = False,
    log_json: LogJson = False,
) -> None:
    """Train trials of the service until Ctrl-C or SIGTERM.

    Ended in mid-trial it hands back its checkpoint; another worker goes on from there.
    """
    die_with(parent)
    labels = labels_from(label or [])
    configure(debug=debugging(), as_json=as_json or log_json, to_stdout=as_json)
    from workers.agent import WorkerSettings, work
    from workers.device import DeviceUnavailable

    settings = WorkerSettings(
        server=server,
        folder=folder.expanduser().resolve(),
        token=token,
        device=device,
        slots=slots,
        name=name,
        labels=labels,
        threads=threads,
    )
    try:
        work(settings)
    except DeviceUnavailable as error:
        from service.cli.errors import WrongUsage

        raise WrongUsage(str(error)) from error


def labels_from(pairs: list[str]) -> dict[str, str]:
    """`["gpu=h100"]` as a mapping."""
    from service.cli.errors import WrongUsage

    labels: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise WrongUsage(f"--label {pair!r} is not key=value")
        labels[key] = value
    return labels
