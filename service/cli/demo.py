"""`srtune demo`: a whole study on photographs that ship with Python packages, on this machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from service.cli.demo_results import Findings
    from service.cli.stack import Stack
    from service.client import Client
    from service.contract.trial import StudyView

#: Module → the package that has it; the demo's photographs and plots.
_NEEDS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
#: Seconds the pages may take to fill after the last trial.
_DRAIN = 60.0


def demo(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the demo.", file_okay=False)
    ] = Path("demo-data"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the dashboard up at the end, until Ctrl-C.")
    ] = False,
    trials: Annotated[
        int | None, typer.Option("--trials", min=4, help="Trials, recipes included.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=4, help="Steps of a trial, and twice that of the start."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Local workers.")] = 2,
    port: Annotated[int, typer.Option("--port", help="Port of the service; 0: a free one.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer in JSON on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Tune the loss weights of a small ×2 network on real photographs; about ten minutes.

    Ends with the front as a table and as front.png, with comparison.png, and with the weights found
    beside the published ones. Interrupted, it goes on where it stopped.
    """
    from service.cli.output import answer, console, note

    started = time.monotonic()
    screen = console(stderr=as_json)
    _check_packages()
    definition = demo_definition(trials=trials, steps=steps)
    try:
        with _sigterm_is_ctrl_c():
            _fetch_networks(definition, screen)
            with _stack(data.resolve(), workers, port, screen) as stack:
                findings = _tune(stack, definition, screen)
                _wait_for_pages(stack.plan.data, screen)
                minutes = (time.monotonic() - started) / 60
                shown = findings.shown(stack.url, minutes=minutes)
                answer(findings.plain(stack.url), shown, as_json=as_json)
                if keep:
                    screen.print(f"the dashboard stays up at {stack.url}/mlflow/ until Ctrl-C")
                    _until_ctrl_c()
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from here")
        raise


def demo_definition(*, trials: int | None = None, steps: int | None = None) -> dict[str, Any]:
    """The demo's study as shipped, smaller or larger if wanted."""
    from service.cli.definition_file import parse

    text = files("service.cli").joinpath("demo.yaml").read_text(encoding="utf-8")
    definition: dict[str, Any] = parse(text, name="demo.yaml")
    if trials is not None:
        definition["budget"]["trials"] = trials
    if steps is not None:
        definition["training"]["steps"] = steps
        definition["training"]["warmup"]["steps"] = 2 * steps
    return definition


def _check_packages() -> None:
    from service.cli.errors import NeedsPackages

    if missing := [package for module, package in _NEEDS.items() if find_spec(module) is None]:
        raise NeedsPackages(
            f"the demo needs {' and '.join(missing)}; pip install 'srtune[all]' brings them"
        )


def _fetch_networks(definition: dict[str, Any], screen: Console) -> None:
    """Fetch pretrained networks before anything waits for them."""
    from service.cli.errors import StackFailed
    from workers.weights import WeightsUnavailable, path

    backbones = {term.get("parameters", {}).get("backbone") for term in definition["losses"]}
    for backbone in sorted(backbones - {None}):
        with screen.status(f"pretrained {backbone}: fetching it, once per machine ..."):
            try:
                found = path(backbone)
            except WeightsUnavailable as error:
                raise StackFailed(str(error)) from error
        screen.print(f"pretrained {backbone}: {found}", soft_wrap=True)


def _stack(data: Path, workers: int, port: int, screen: Console) -> Stack:
    from service.cli.stack import Plan, Stack
    from service.cli.up import cores, local_devices

    devices = local_devices(workers)
    threads = max(1, cores() // workers)
    screen.print(f"starting the service and {workers} workers; their logs are in {data / 'logs'}")
    return Stack(
        Plan(data=data, port=port, devices=devices, threads=threads),
        tell=lambda line: screen.print(line, style="dim"),
    )


def _tune(stack: Stack, definition: dict[str, Any], screen: Console) -> Findings:
    from service.cli.demo_results import findings
    from service.cli.watch import watch
    from service.client import Client

    # A service that has just started may be busy with its first requests.
    with Client(stack.url) as client:
        study = _study(client, definition, screen)
    with Client(stack.url, patience=0) as client:
        places = (
            f"REST {stack.url}/docs   MLflow {stack.url}/mlflow/   Ctrl-C ends it in good order"
        )
        screen.print(f"study {study.id}   {places}\n", soft_wrap=True)
        watch(client, study.id, screen)
    with Client(stack.url) as client, screen.status("drawing front.png and comparison.png ..."):
        return findings(client, study.id, stack.plan.data)


def _study(client: Client, definition: dict[str, Any], screen: Console) -> StudyView:
    """The study an earlier demo was interrupted in, if it is the same one, else a new one."""
    from service.cli.watch import ENDED
    from service.contract.study import StudyDefinition

    wanted = StudyDefinition.model_validate(definition, strict=False)
    for view in client.studies():
        if view.definition == wanted and view.state not in ENDED:
            done = view.progress.done_trials
            screen.print(f"going on with the study that was interrupted after {done} trials")
            return client.resume(view.id) if view.state == "paused" else view
    return client.submit(definition)


def _wait_for_pages(data: Path, screen: Console) -> None:
    """Wait until workers have sent their curves and images to MLflow, within reason."""
    deadline = time.monotonic() + _DRAIN
    with screen.status("filling the MLflow pages ..."):
        while time.monotonic() < deadline and any(data.glob("workers/*/spool/*/")):
            time.sleep(0.2)


@contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    """Whatever ends the demo, its children end in good order."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _until_ctrl_c() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
