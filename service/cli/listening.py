"""The port a service listens on, and the folder it alone may write."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.errors import FolderTaken, PortTaken, WrongUsage


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the port (0: a free one); PortTaken when somebody else has it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise WrongUsage(
            f"--host {host!r} is no address of this machine ({error.strerror})"
        ) from error
    bound = socket.socket(family, kind, protocol)
    # A restarted service must not wait for its predecessor's connections to time out.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _refused(host, port, error) from error
    return bound


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on now."""
    with listen(host, 0) as bound:
        return int(bound.getsockname()[1])


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the data folder; SQLite and the blob store are for one service process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "service.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise FolderTaken(
                f"{folder} is in use by the service with process id {lock.read().strip() or '?'}; "
                "stop that one or give another --data"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _refused(host: str, port: int, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} on {host} is taken by another process; stop it or give another --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return WrongUsage(f"--host {host!r} is no address of this machine")
    if error.errno == errno.EACCES:
        return PortTaken(f"port {port} needs root; give a --port above 1023")
    return error
