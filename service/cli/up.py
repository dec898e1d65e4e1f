"""`srtune up`: service, MLflow and local workers in one terminal and one data folder."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.log import LogJson, environment
from service.cli.options import Data
from service.cli.serve import DatabaseUrl, Host, Lab, Port

if TYPE_CHECKING:
    from service.cli.stack import Plan


def up(
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Local workers.  [default: one per GPU, or one per two processor cores]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads per worker.  [default: cores / workers]"),
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=64, help="Trials a worker trains side by side.")
    ] = 1,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    database: DatabaseUrl = None,
    mlflow: Lab = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the addresses as one JSON object to stdout.")
    ] = False,
    log_json: LogJson = False,
) -> None:
    """Run everything on this machine until Ctrl-C.

    Started again with the same data folder, it goes on where it stopped.
    """
    from service.cli.output import answer, note
    from service.cli.serve import addresses, settings_from
    from service.cli.stack import Plan, Stack

    settings = settings_from(data=data, host=host, port=port, database=database, mlflow=mlflow)
    devices = local_devices(workers)
    plan = Plan(
        data=settings.data,
        host=settings.host,
        port=settings.port,
        devices=devices,
        threads=threads or max(1, cores() // max(1, len(devices))),
        slots=slots,
        token=settings.token.get_secret_value() if settings.token else None,
        mlflow=settings.mlflow,
        database=settings.database,
        environment=environment(as_json=log_json),
    )
    _check_before_children(plan)
    end = _end_on_signals()
    with Stack(plan, tell=lambda line: note(f"{time.strftime('%H:%M:%S')}  {line}")) as stack:
        found = addresses(settings.model_copy(update={"port": stack.port}))
        answer({**found, "workers": len(devices)}, _welcome(found, stack.logs), as_json=as_json)
        end.wait()
        note("\nending: workers hand back what they train ...")


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_devices(workers: int | None) -> tuple[str, ...]:
    """One device per worker: each GPU once, or more often if more workers are wanted."""
    gpus = _gpus()
    if workers is None:
        workers = gpus or max(1, cores() // 2)
    return tuple(f"cuda:{index % gpus}" if gpus else "cpu" for index in range(workers))


def _gpus() -> int:
    """NVIDIA devices, counted without importing torch (2 s and 200 MB)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if visible is None or not present:
        return present
    return min(present, len([name for name in visible.split(",") if name.strip()]))


def _check_before_children(plan: Plan) -> None:
    """What would otherwise be a line in a child's log."""
    from service.cli.listening import only_one

    if plan.database is None:
        with only_one(plan.data):
            pass


def _end_on_signals() -> threading.Event:
    end = threading.Event()

    def first(number: int, _frame: object) -> None:
        end.set()
        # The second one interrupts the waiting: children are then killed.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, first)
    return end


def _welcome(found: dict[str, str], logs: Path) -> str:
    lines = [
        "",
        f"  service    {found['service']}",
        f"  REST docs  {found['docs']}",
        f"  MLflow     {found['mlflow'] or 'off'}",
        f"  data       {found['data']}",
        f"  logs       {logs}",
        "",
        "  srtune study submit FILE --watch   in another terminal; Ctrl-C here ends everything",
        "",
    ]
    return "\n".join(lines)
