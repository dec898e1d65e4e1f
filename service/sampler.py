"""The sampler in a process of its own, so that its arithmetic never holds up a request.

A fit takes tens of milliseconds in which Python runs nothing else. The child dies with us: it reads
from a socket that only we hold the other end of. When it dies first, what it knew is told again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from service.contract.errors import InvalidRequest

if TYPE_CHECKING:
    from service.contract.study import StudyDefinition
    from service.contract.trial import Calibration
    from service.contract.vocabulary import Vocabulary
    from service.tuner.mind import Proposal
    from service.tuner.observation import Observation

logger = logging.getLogger(__name__)

_LAUNCH = "import sys; from service.sampler import serve; serve(int(sys.argv[1]))"
_PATIENCE = 2.0
# One thread each: the sampler must leave the other cores to the requests.
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class MindLost(Exception):
    """The sampler's process ended, and with it all it knew; it starts again when asked."""


class SamplerProcess:
    """A `Thinker` whose thoughts are another process's; started by `begin` or the first call.

    Any call may raise MindLost: every study has to be met and told again then. For one thread at a
    time; `close` may come from any.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None
        self._closed = False
        self._starting = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process; None before the first call."""
        return None if self._child is None else self._child.pid

    def begin(self) -> None:
        """Start the process; returns at once, while it imports what it needs."""
        if self._pipe is None:
            self._start()

    def meet(
        self,
        study: str,
        definition: StudyDefinition,
        vocabulary: Vocabulary,
        calibration: Calibration,
    ) -> None:
        self._call("meet", study, definition, vocabulary, calibration)

    def tell(self, study: str, observations: Sequence[Observation]) -> None:
        self._call("tell", study, observations)

    def propose(self, study: str, numbers: Sequence[int], clock: int) -> list[Proposal]:
        found: list[Proposal] = self._call("propose", study, numbers, clock)
        return found

    def keep(self, studies: set[str]) -> None:
        if self._child is not None:  # nothing to forget before anything was told
            self._call("keep", studies)

    def close(self) -> None:
        """End the process; a call under way raises MindLost."""
        with self._starting:
            self._closed = True
            child = self._child
        if child is not None:
            child.terminate()
            _wait(child)

    def _call(self, name: str, *arguments: object) -> Any:
        pipe = self._pipe or self._start()
        try:
            pipe.send((name, arguments))
            fine, answer = pipe.recv()
        except (EOFError, OSError) as error:
            self._bury()
            raise MindLost("the sampler's process ended; it is started and told again") from error
        if not fine:
            raise answer
        return answer

    def _start(self) -> Connection[Any, Any]:
        ours, theirs = socket.socketpair()
        with self._starting, theirs:
            if self._closed:
                ours.close()
                raise MindLost("the sampler is closed")
            self._child = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | _ALONE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._pipe = Connection(ours.detach())
        return self._pipe

    def _bury(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            _wait(self._child)
            if not self._closed:
                logger.warning("sampler's process ended", extra={"status": self._child.returncode})
        self._pipe = self._child = None


def serve(descriptor: int) -> None:
    """Think for whoever holds the other end of this socket, until that is closed."""
    # Ctrl-C goes to all processes of a terminal; ours ends when its service does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from service.tuner.mind import Mind

    with Connection(descriptor) as pipe:
        try:
            mind = Mind()
            while True:
                name, arguments = pipe.recv()
                pipe.send(_answer(mind, name, arguments))
        except (EOFError, ConnectionError):
            return


def _answer(mind: Any, name: str, arguments: tuple[object, ...]) -> tuple[bool, object]:
    try:
        return True, getattr(mind, name)(*arguments)
    except (ValueError, InvalidRequest) as error:  # raised where the question was asked
        return False, error


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
