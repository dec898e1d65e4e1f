"""`srtune worker`: one process that pulls trials and trains them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

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
    allow_data: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow-data",
            envvar="SRTUNE_ALLOW_DATA",
            help="Folder whose photos studies may name; repeatable. Needed with a service on another "
            "machine; without it studies may name any photos here.",
        ),
    ] = None,
    allow_package: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-package",
            envvar="SRTUNE_ALLOW_PACKAGE",
            help="Python package whose photos studies may name, beside --allow-data; repeatable.",
        ),
    ] = None,
    allow_weights: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow-weights",
            envvar="SRTUNE_ALLOW_WEIGHTS",
            help="File or folder of weights studies may name, beside --allow-data; repeatable. "
            "Those of `srtune weights list` always may.",
        ),
    ] = None,
    parent: Parent = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write every event as a JSON object to stdout.")
    ] = False,
    log_json: LogJson = False,
) -> None:
    """Train trials of the service until Ctrl-C or SIGTERM.

    Ended in mid-trial it hands back its checkpoint; another worker goes on from there. Studies name
    photos and weights by their paths on this machine: --allow-data says which of them they may.
    """
    die_with(parent)
    labels = labels_from(label or [])
    restricted = check_allowed(server, allow_data, allow_package, allow_weights)
    configure(debug=debugging(), as_json=as_json or log_json, to_stdout=as_json)
    from workers.agent import WorkerSettings, work
    from workers.allowance import EVERYTHING, Allowance
    from workers.device import DeviceUnavailable

    allowed = EVERYTHING
    if restricted:
        allowed = Allowance.only(
            data=allow_data or (), packages=allow_package or (), weights=allow_weights or ()
        )
    settings = WorkerSettings(
        server=server,
        folder=folder.expanduser().resolve(),
        token=token,
        device=device,
        slots=slots,
        name=name,
        labels=labels,
        threads=threads,
        allowed=allowed,
    )
    try:
        work(settings)
    except DeviceUnavailable as error:
        from service.cli.errors import WrongUsage

        raise WrongUsage(str(error)) from error


def check_allowed(
    server: str,
    data: list[Path] | None,
    packages: list[str] | None,
    weights: list[Path] | None,
) -> bool:
    """Whether studies may name only what these options say; WrongUsage where they must say it."""
    from service.cli.errors import WrongUsage

    if missing := [path for path in (*(data or ()), *(weights or ())) if not path.exists()]:
        raise WrongUsage(f"{missing[0]} does not exist; correct --allow-data or --allow-weights")
    if data or packages or weights:
        return True
    host = urlsplit(server).hostname or ""
    if not _is_loopback(host):
        raise WrongUsage(
            f"the service at {host} is another machine, and its studies name files of this one; "
            "say which folders they may read: --allow-data DIR (/ for all)"
        )
    return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
