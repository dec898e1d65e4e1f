"""Workers in a thread, for tests of what they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.contract.study import StudyDefinition
from tests.workers import tiny_training as tiny
from tests.workers.small_service import SmallService
from workers.agent import Agent, WorkerSettings
from workers.suppliers import Pretrained


def long(photos: Path, **training: Any) -> StudyDefinition:
    """A study whose trials do not end while a test looks at them."""
    return tiny.define(photos, training={"steps": 100_000, "rungs": [0.0002]} | training)


def new_agent(
    service: SmallService,
    folder: Path,
    slots: int = 1,
    *,
    pretrained: Pretrained | None = None,
    **settings: Any,
) -> Agent:
    told = WorkerSettings(
        "http://small", folder, device="cpu", slots=slots, name="tester", **settings
    )
    return Agent(told, service.client(), pretrained=pretrained or tiny.Narrow())


@contextmanager
def working(agent: Agent) -> Iterator[Agent]:
    """Run an agent in a thread; at the end it is stopped and must come to its end."""
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    yield agent
    agent.stop()
    thread.join(60)
    assert not thread.is_alive()


def wait(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
