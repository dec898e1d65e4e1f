"""A worker: asks the service for trials, trains them, tells what came of it, and starts over."""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from urllib.parse import urljoin

import torch

from service.client import Client
from service.contract.errors import SrtuneError, WorkerNotFound
from service.contract.trial import Lease
from service.contract.worker import Registered, Registration
from workers import weights
from workers.again import Pauses, worth_asking_again
from workers.allowance import EVERYTHING, Allowance
from workers.bench import Bench
from workers.delivery import Courier
from workers.device import choose, describe
from workers.heartbeat import Heartbeats, Holding
from workers.leasing import Leasing
from workers.session import Session
from workers.suppliers import Pretrained
from workers.tracking.spool import Spool
from workers.tracking.uploader import Uploader

logger = logging.getLogger(__name__)

_NAP = 0.02
_LONGEST_PAUSE = 15.0
#: Seconds after which a beat is given up: the next one is due soon.
_BEAT_SECONDS = 5.0


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told when it is started."""

    server: str
    folder: Path  #: for checkpoints, curves on their way, and what is kept from trial to trial
    token: str | None = None
    device: str = "auto"
    slots: int = 1  #: trials trained side by side
    name: str | None = None  #: unique per process; default: host:pid
    labels: dict[str, str] = field(default_factory=dict)
    threads: int = 1  #: of torch on the CPU
    allowed: Allowance = EVERYTHING  #: what studies may name of this machine
    #: Seconds a worker that was told to stop waits for the service to hear its last words.
    grace: float = 15.0


def connect(settings: WorkerSettings, *, timeout: float = 20.0) -> Client:
    """Return a client that asks once: how long to go on asking is each caller's own matter."""
    return Client(settings.server, token=settings.token, patience=0.0, timeout=timeout)


class Agent:
    """One worker process. `run` returns when `stop` was called and everything is given back.

    Raises DeviceUnavailable, and from `run` the service's errors that asking again will not cure
    (Unauthorized, Forbidden, InvalidRequest). A service that is away is waited for.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        client: Client | None = None,
        *,
        pretrained: Pretrained = weights,
    ) -> None:
        self.settings = settings
        self.client = client or connect(settings)
        self.device = choose(settings.device, threads=settings.threads)
        self.sessions: list[Session] = []
        self._bench = Bench(
            self.client.get_blob,
            self.device,
            settings.folder,
            pretrained=pretrained,
            allowed=settings.allowed,
        )
        self._stopping = ""
        self._stopped_at = 0.0
        self._heartbeats = Heartbeats(client or connect(settings, timeout=_BEAT_SECONDS))
        self._courier = Courier(self.client)
        self._leasing = Leasing(self.client)
        self._registered: Registered | None = None
        self._uploader: Uploader | None = None

    def stop(self, reason: str = "the worker was stopped") -> None:
        """Let the step under way end, then give everything back; safe in a signal handler."""
        if not self._stopping:
            self._stopped_at = time.monotonic()
            self._stopping = reason

    def run(self) -> None:
        """Work until told to stop."""
        registered = self._register()
        if registered is None:
            return
        with ExitStack() as stack:
            stack.enter_context(self._heartbeats)
            stack.enter_context(self._courier)
            self._track(registered, stack)
            while not (self._stopping and self._given_back()):
                self._fill()
                for session in self.sessions:
                    session.advance()
                self._sweep()
                if all(session.waiting for session in self.sessions):
                    time.sleep(_NAP)
        logger.info("worker ended: %s", self._stopping)

    def _register(self) -> Registered | None:
        """Introduce this worker, however long the service takes to come up; None if stopped."""
        settings, pauses = self.settings, Pauses(0.2, _LONGEST_PAUSE)
        registration = Registration(
            name=settings.name or f"{socket.gethostname()}:{os.getpid()}",
            host=socket.gethostname(),
            devices=[describe(self.device)],
            slots=settings.slots,
            labels=settings.labels,
            version=_version(),
        )
        while not self._stopping:
            try:
                self._registered = self.client.register(registration)
            except SrtuneError as error:
                if not worth_asking_again(error):
                    raise
                pause = pauses.next()
                logger.warning("%s; trying again in %.1f s", error.detail, pause)
                self._nap(pause)
            else:
                logger.info("registered as %s on %s", registration.name, self.device)
                return self._registered
        return None

    def _track(self, registered: Registered, stack: ExitStack) -> None:
        """Start carrying curves to MLflow, if the service keeps one."""
        if registered.tracking_uri is None:
            return
        uri = urljoin(self.client.server + "/", registered.tracking_uri)
        spools = self.settings.folder / "spool"
        self._uploader = Uploader(spools, uri, self.client.tracking, self.settings.token)
        self._uploader.start()
        stack.callback(self._uploader.stop)
        # What does not get through now is carried by the next worker in this folder.
        stack.callback(self._uploader.drain, 5.0)

    def _fill(self) -> None:
        """Ask for as many trials as there is room for."""
        room = self.settings.slots - len(self.sessions)
        if self._stopping or room < 1 or not self._leasing.due or not self._registered:
            return
        cached = [self._bench.study] if self._bench.study else []
        try:
            leases = self._leasing.ask(self._registered, room, cached)
        except WorkerNotFound:
            self._register()
            return
        for lease in leases:
            self._begin(lease)

    def _begin(self, lease: Lease) -> None:
        holding = Holding(lease)
        self._heartbeats.add(holding)
        spool = None
        if self._uploader is not None:
            spool = Spool(self.settings.folder / "spool", lease.job.uid, lease.token)
            spool.tags(self._environment())
        self.sessions.append(Session(holding, self._bench, self._courier, spool))

    def _sweep(self) -> None:
        for session in [session for session in self.sessions if session.over]:
            self._heartbeats.drop(session.holding)
            self.sessions.remove(session)

    def _given_back(self) -> bool:
        """Whether nothing is held any more, or waiting for the service has taken too long."""
        for session in self.sessions:
            session.release(self._stopping)
        late = time.monotonic() - self._stopped_at > self.settings.grace
        if late and self.sessions:
            logger.warning("the service does not hear us; its leases will lapse")
        return late or not self.sessions

    def _nap(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end:
            time.sleep(_NAP)

    def _environment(self) -> dict[str, str]:
        return {
            "env.srtune": _version(),
            "env.torch": torch.__version__,
            "env.python": platform.python_version(),
            "env.host": socket.gethostname(),
            "env.device": describe(self.device).name,
            "env.threads": str(torch.get_num_threads()),
        }


def stop_on_signals(agent: Agent) -> None:
    """Let SIGTERM and SIGINT end the agent in good order; the second of them ends the process."""

    def _first(number: int, _: FrameType | None) -> None:
        for other in (signal.SIGTERM, signal.SIGINT):
            signal.signal(other, signal.SIG_DFL)
        agent.stop(f"{signal.Signals(number).name} on {socket.gethostname()}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _first)


def work(settings: WorkerSettings) -> None:
    """Run a worker in this process until a signal ends it; what `srtune worker` calls."""
    agent = Agent(settings)
    stop_on_signals(agent)
    agent.run()


def _version() -> str:
    try:
        return version("srtune")
    except PackageNotFoundError:
        return "0"
