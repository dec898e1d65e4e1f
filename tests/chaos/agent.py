"""A process of simulated workers.

    python -m tests.chaos.agent FOLDER '{"url": ..., "name": ..., ...}'

Every thread is a worker. What a worker sends is written into FOLDER/NAME.jsonl. Some misbehave as
their `Temper` says: they sleep past their lease and go on as if nothing had happened, repeat what
was answered, fail. SIGTERM makes them hand back what they hold, and exit with 0.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.chaos.history import History
from tests.chaos.simulated import SimulatedWorker
from tests.chaos.temper import AgentSettings


def main() -> None:
    """Run the agent of the command line until SIGTERM or an error."""
    folder, settings = Path(sys.argv[1]), AgentSettings.decoded(sys.argv[2])
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    history = History(folder / f"{settings.name}.jsonl", settings.name)
    workers: list[SimulatedWorker] = []
    for place in range(settings.threads):
        first = workers[0] if settings.together and workers else None
        workers.append(SimulatedWorker(settings, place, history, folder, stopping, first))
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers) and not stopping.wait(0.2):
        if any(worker.error for worker in workers):
            break
    stopping.set()
    for worker in workers:
        worker.join(10.0)
    sys.exit(3 if any(worker.error for worker in workers) else 0)


if __name__ == "__main__":
    main()
