"""A simulated worker: the real client and messages, and arithmetic for training."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from service.client import Client
from service.contract.errors import LeaseLost, SrtuneError, WorkerNotFound
from service.contract.trial import (
    Action,
    Blob,
    Calibration,
    Checkpoint,
    Failure,
    FailureCause,
    Heartbeat,
    Lease,
    LeaseRequest,
    Metrics,
    Release,
    Report,
    Result,
    TrialJob,
    TrialKind,
)
from service.contract.worker import Device, Registration
from tests.chaos.history import History, Recorded
from tests.chaos.temper import POISON_EVERY, POISON_REST, POISON_STUDY, AgentSettings

Answer = TypeVar("Answer")
_SERVER_FAULT = 500


class Gone(Exception):
    """The attempt is over for this worker, however it ended."""


class SimulatedWorker(threading.Thread):
    """One worker; runs until `stopping` is set."""

    def __init__(
        self,
        settings: AgentSettings,
        place: int,
        history: History,
        folder: Path,
        stopping: threading.Event,
        first: SimulatedWorker | None = None,
    ) -> None:
        super().__init__(name=f"{settings.name}.{place}", daemon=True)
        self.known_as = f"{settings.name}.0" if settings.together else self.name
        self._registered: threading.Event = (
            threading.Event() if first is None else first._registered
        )
        self._first = first
        self.settings, self.folder, self.stopping = settings, folder, stopping
        self.error: Exception | None = None
        self.worker = ""
        self._draw = random.Random(f"{settings.seed}-{self.name}-{os.getpid()}")
        self._wire = Recorded(history, by=self.name)
        self._client = Client(
            settings.url, patience=0.0, timeout=settings.timeout, transport=self._wire
        )

    def run(self) -> None:
        try:
            worker = self._id()
            while not self.stopping.is_set():
                worker = self._turn(worker)
        except Gone:
            return
        except Exception as error:
            # The edge of a thread: the process ends with it, and the harness reads why.
            self.error = error
            raise
        finally:
            self._client.close()

    def _id(self) -> str:
        """This worker's id: its own, or the one that the first thread has registered."""
        if self._first is None:
            self.worker = self._register()
            self._registered.set()
            return self.worker
        while not self._registered.wait(0.2):
            if self.stopping.is_set():
                raise Gone
        return self._first.worker

    def _register(self) -> str:
        device = Device(kind="cpu", name="arithmetic")
        registration = Registration(
            name=self.known_as, devices=[device], slots=4, labels=self.settings.temper.labels
        )
        return self._insist(lambda: self._client.register(registration)).id

    def _turn(self, worker: str) -> str:
        """Ask for trials once and train them; the worker's id, which may be another afterwards."""
        request = LeaseRequest(
            worker=worker, capacity=self.settings.capacity, request=uuid.uuid4().hex
        )
        try:
            leases = self._insist(lambda: self._client.lease(request))
        except WorkerNotFound:
            return self._register()
        for lease in leases:
            try:
                self._train(lease)
            except (Gone, LeaseLost):
                continue
        if not leases:
            self.stopping.wait(self._wire.poll_after)
        return worker

    def _train(self, lease: Lease) -> None:
        job, draw = lease.job, self._draw
        failure = self._failure(job)
        rungs = job.definition.training.rung_steps()
        steps = job.definition.training.steps
        begun = job.resume.step if job.resume else 0
        sleeps = job.kind is not TrialKind.START and draw.random() < self.settings.temper.sleeps
        sleeps_at = draw.choice(rungs) if sleeps else -1
        for step in [step for step in rungs if step > begun]:
            self.stopping.wait(self.settings.step_seconds * draw.uniform(0.5, 1.5))
            if self.stopping.is_set():
                self._release(lease, step)
            if step == sleeps_at:
                self.stopping.wait(self.settings.lease_seconds * draw.uniform(1.2, 3.0))
                self._carry_on(lease, step, steps)
            self._beat(lease, step)
            if failure is not None:
                self._insist(lambda: self._client.fail(lease.id, failure_of(lease, failure)))
                raise Gone
            self._report(lease, step)
        self._complete(lease, steps)

    def _carry_on(self, lease: Lease, step: int, steps: int) -> None:
        """Go on as a worker does that was asleep and knows of nothing: all it may send, now."""
        token = lease.token
        writes: list[Callable[[], object]] = [
            lambda: self._client.heartbeat(lease.id, Heartbeat(token=token, step=step)),
            lambda: self._client.report(
                lease.id, Report(token=token, step=step, metrics=scores(lease, step))
            ),
            lambda: self._client.complete(
                lease.id,
                Result(token=token, step=steps, metrics=scores(lease, steps)),
            ),
            lambda: self._client.fail(lease.id, failure_of(lease, FailureCause.ERROR)),
            lambda: self._client.release(lease.id, Release(token=token, reason="woke up")),
        ]
        self._draw.shuffle(writes)
        for write in writes:
            try:
                write()
            except SrtuneError as error:
                if error.status != LeaseLost.status and error.status < _SERVER_FAULT:
                    raise
        raise Gone

    def _beat(self, lease: Lease, step: int) -> None:
        beat = Heartbeat(token=lease.token, step=step, steps_per_second=10.0)
        verdict = self._insist(lambda: self._client.heartbeat(lease.id, beat))
        if verdict.action is not Action.CONTINUE:
            raise Gone

    def _report(self, lease: Lease, step: int) -> None:
        checkpoint = None
        if self._draw.random() < 0.3:
            blob = self._store(f"{lease.job.uid} at {step}")
            checkpoint = Checkpoint(blob=blob, step=step)
        report = Report(
            token=lease.token, step=step, metrics=scores(lease, step), checkpoint=checkpoint
        )
        verdict = self._insist(lambda: self._client.report(lease.id, report))
        if verdict.action is not Action.CONTINUE:
            raise Gone

    def _complete(self, lease: Lease, steps: int) -> None:
        job = lease.job
        start = calibration = None
        if job.kind is TrialKind.START:
            start = self._store(f"start of {job.study_id}")
            norms = {term.key: 1.0 + place for place, term in enumerate(job.definition.losses)}
            calibration = Calibration(norms=norms, values=norms, batches=1)
        result = Result(
            token=lease.token,
            step=steps,
            metrics=scores(lease, steps),
            weights_blob=self._store(f"weights of {job.uid}") if job.number % 4 == 0 else None,
            start=start,
            calibration=calibration,
            train_seconds=1.0,
        )
        self._insist(lambda: self._client.complete(lease.id, result))

    def _release(self, lease: Lease, step: int) -> None:
        release = Release(token=lease.token, reason="the agent was told to end")
        self._insist(lambda: self._client.release(lease.id, release), tries=3)
        raise Gone

    def _failure(self, job: TrialJob) -> FailureCause | None:
        if job.kind is TrialKind.START:
            return None
        poison = job.study_name.startswith(POISON_STUDY)
        if self.settings.temper.bad or (poison and job.number % POISON_EVERY == POISON_REST):
            return FailureCause.ERROR
        if self._draw.random() >= self.settings.temper.fails:
            return None
        causes = (FailureCause.ERROR, FailureCause.OUT_OF_MEMORY, FailureCause.DIVERGED)
        return self._draw.choice(causes)

    def _store(self, text: str) -> Blob:
        path = self.folder / f"{self.name}.blob"
        path.write_text(text)
        return self._insist(lambda: self._client.put_blob(path))

    def _insist(self, ask: Callable[[], Answer], *, tries: int | None = None) -> Answer:
        """Send the same request until something is known of it, as workers do; sometimes again."""
        pause = 0.1
        while tries is None or tries > 0:
            try:
                answer = ask()
            except SrtuneError as error:
                if error.status < _SERVER_FAULT:
                    raise
                if self.stopping.is_set() and tries is None:
                    tries = 3
            else:
                if self._draw.random() < self.settings.temper.repeats:
                    self._once_more(ask)
                return answer
            threading.Event().wait(pause * self._draw.uniform(0.5, 1.5))
            pause = min(2 * pause, 2.0)
            tries = None if tries is None else tries - 1
        raise Gone

    def _once_more(self, ask: Callable[[], object]) -> None:
        try:
            ask()
        except SrtuneError:
            return  # the checker compares the answers


def scores(lease: Lease, step: int) -> Metrics:
    """Scores that say of which trial, step and lease they are, and nothing of when they were made."""
    job, names = lease.job, [*lease.job.definition.objectives, *lease.job.definition.metrics]
    found = {}
    for name in names:
        seed = hashlib.sha256(f"{job.uid} {step} {name}".encode()).digest()
        found[name] = int.from_bytes(seed[:4]) / 2**32 + 1e-6 * lease.token
    return found


def failure_of(lease: Lease, cause: FailureCause) -> Failure:
    return Failure(token=lease.token, cause=cause, message="arithmetic failed")
