"""Where a worker's time goes: data, forward, losses, backward, optimiser, evaluation, logging.

Part of `python -m benchmarks.trial_rate`. The trials of the demo's study by a real agent against a real service with MLflow. The calls named
below are timed from outside, each without the timed calls inside it; what is left is "other".
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import workers.session as session_module
import workers.trainer as trainer_module
from service.cli.stack import Plan, Stack
from service.client import Client
from service.contract.trial import StudyState, TrialKind
from workers import models
from workers.agent import Agent, WorkerSettings
from workers.criterion import Criterion
from workers.data.pairs import Pairs
from workers.tracking.spool import Spool

TRAINING = ("data", "forward", "losses", "backward", "optimiser", "discriminator")


def wait_for(question: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s")
        time.sleep(0.2)


class Clock:
    """Seconds by name, of one thread; a call inside another is not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0
        self._thread = threading.get_ident()

    @contextmanager
    def count(self, name: str) -> Iterator[None]:
        if threading.get_ident() != self._thread:
            yield
            return
        self._switch()
        self._stack.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def _switch(self) -> None:
        at = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += at - self._since
        self._since = at

    def watch(self, owner: Any, call: str, name: str) -> None:
        """Count every call of `owner.call` under `name`."""
        original: Callable[..., Any] = getattr(owner, call)

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.count(name):
                return original(*arguments, **named)

        setattr(owner, call, timed)


def watched(definition: dict[str, Any]) -> Clock:
    clock = Clock()
    model = definition["model"]
    generator = models.build(
        model["name"], scale=definition["data"]["scale"], **model["parameters"]
    )
    clock.watch(session_module.Session, "advance", "other")
    clock.watch(Pairs, "batch", "data")
    clock.watch(type(generator), "forward", "forward")
    for call in ("given", "parts"):
        clock.watch(Criterion, call, "losses")
    clock.watch(torch.autograd, "backward", "backward")
    clock.watch(torch.autograd, "grad", "backward")
    clock.watch(trainer_module, "update", "optimiser")
    clock.watch(trainer_module, "accompany", "discriminator")
    clock.watch(session_module.Session, "_score", "evaluation")
    clock.watch(session_module.Session, "_checkpoint", "checkpoint")
    for call in ("metrics", "image", "commit"):
        clock.watch(Spool, call, "logging")
    for call in ("tile", "png"):
        clock.watch(session_module, call, "logging")
    return clock


def main(raw: dict[str, Any], steps: int) -> None:
    """Train the study's trials in this process and print where the time went."""
    clock = watched(raw)
    with tempfile.TemporaryDirectory() as scratch:
        plan = Plan(data=Path(scratch) / "data", devices=())
        with Stack(plan, tell=lambda _line: None) as stack, Client(stack.url) as client:
            agent = Agent(WorkerSettings(stack.url, Path(scratch) / "worker", device="cpu"))
            study = client.submit(raw)

            def watch() -> None:
                # Counting begins with the first trial; the start job is another kind of work.
                wait_for(lambda: client.trial(study.id, 0).state.value == "complete", 600)
                clock.seconds.clear()
                wait_for(lambda: client.study(study.id).state is not StudyState.ACTIVE, 3600)
                agent.stop()

            watcher = threading.Thread(target=watch)
            watcher.start()
            agent.run()
            watcher.join()
            trials = [t for t in client.trials(study.id) if t.kind is TrialKind.SEARCH]
            span = (trials[-1].finished or 0.0) - trials[0].attempts[0].started
    report(clock.seconds, span, steps)


def report(seconds: dict[str, float], span: float, steps: int) -> None:
    idle = span - sum(seconds.values())
    print(f"trials of {steps} steps, {span:.1f} s from the first lease to the last result")
    for name, took in [*sorted(seconds.items(), key=lambda one: -one[1]), ("waiting", idle)]:
        print(f"  {name:20} {took:7.2f} s {100 * took / span:6.1f} %")
    training = sum(seconds[name] for name in TRAINING)
    evaluation = seconds["evaluation"]
    print(f"training             {100 * training / span:6.1f} %")
    print(f"evaluation           {100 * evaluation / span:6.1f} %")
    print(f"everything else      {100 * (span - training - evaluation) / span:6.1f} %")
