"""Optuna's own storage doing the same work: ask, ten reports, tell; in a process of its own.

    python -m benchmarks.control_plane_peer URL --seconds 5

Sixteen threads share one study object, as a server would use it; TPE as we use it (multivariate,
constant liar), NopPruner, six log-uniform floats. The history is loaded before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from typing import Any

import optuna
from sqlalchemy import event, make_url

from benchmarks import control_plane_study as study
from benchmarks.control_plane_seeding import DISTRIBUTION, driven


def storage_at(url: str, threads: int) -> optuna.storages.RDBStorage:
    """Optuna's storage; on SQLite with its faster journal and without a flush per commit."""
    if make_url(driven(url)).get_backend_name() != "sqlite":
        return optuna.storages.RDBStorage(driven(url), engine_kwargs={"pool_size": threads + 2})
    patience = {"connect_args": {"timeout": 30}}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=patience)

    @event.listens_for(storage.engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()
    return storage


class Threads:
    """The threads of one run and what they measured."""

    def __init__(self, tuned: optuna.Study, seconds: float, warm: float) -> None:
        self._study = tuned
        self._from = time.perf_counter() + warm
        self._until = self._from + seconds
        self._failures: list[BaseException] = []
        self.cycles = self.all_cycles = 0
        self.times: dict[str, list[float]] = {"ask": [], "report": [], "tell": []}

    def run(self, count: int) -> None:
        threads = [threading.Thread(target=self._noted) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _noted(self) -> None:
        try:
            while time.perf_counter() < self._until:
                self._cycle()
        except BaseException as error:
            self._failures.append(error)
            raise

    def _cycle(self) -> None:
        begun = time.perf_counter()
        trial = self._study.ask(dict.fromkeys(study.TERMS, DISTRIBUTION))
        self._note("ask", begun)
        value = study.score(trial.params)
        for step in study.RUNGS:
            begun = time.perf_counter()
            trial.report(value, step)
            self._note("report", begun)
        begun = time.perf_counter()
        self._study.tell(trial, value)
        self._note("tell", begun)
        self.all_cycles += 1
        self.cycles += self._from <= time.perf_counter() < self._until

    def _note(self, what: str, begun: float) -> None:
        ended = time.perf_counter()
        if self._from <= ended < self._until:
            self.times[what].append(ended - begun)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=16)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.logging.disable_default_handler()
    sampler = optuna.samplers.TPESampler(
        multivariate=True, constant_liar=True, n_startup_trials=study.STARTUP
    )
    tuned = optuna.load_study(
        study_name="benchmark",
        storage=storage_at(given.url, given.threads),
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),
    )
    begun = time.perf_counter()
    tuned.tell(tuned.ask(dict.fromkeys(study.TERMS, DISTRIBUTION)), 20.0)
    cold = time.perf_counter() - begun
    threads = Threads(tuned, given.seconds, given.warm)
    threads.run(given.threads)
    print(
        json.dumps(
            {
                "seconds": given.seconds,
                "cycles": threads.cycles,
                "all_cycles": threads.all_cycles + 1,
                "cold": cold,
                **threads.times,
            }
        )
    )


if __name__ == "__main__":
    main()
