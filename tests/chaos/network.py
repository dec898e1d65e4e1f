"""A network namespace for agents, joined to ours by a cable that can be cut, one way or both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Island:
    """Another network: `inside` runs a command there, `address` is ours as seen from there."""

    name: str
    address: str
    device: str

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        _run("ip", "link", "set", self.device, "down")

    def deafen(self) -> None:
        """What is sent from there arrives; no answer gets back."""
        _run("iptables", "-w", "-A", "OUTPUT", "-o", self.device, "-j", "DROP")

    def silence(self) -> None:
        """Nothing sent from there arrives."""
        _run("iptables", "-w", "-A", "INPUT", "-i", self.device, "-j", "DROP")

    def mend(self) -> None:
        _run("ip", "link", "set", self.device, "up")
        for chain, way in (("OUTPUT", "-o"), ("INPUT", "-i")):
            while _works("iptables", "-w", "-D", chain, way, self.device, "-j", "DROP"):
                pass


@contextmanager
def island(number: int = 0) -> Iterator[Island | None]:
    """A network namespace of this process's own; None where we may not make one."""
    name = f"srtune-{os.getpid()}-{number}"
    ours, theirs = f"sr{os.getpid() % 10**6}a{number}", f"sr{os.getpid() % 10**6}b{number}"
    # Ours is even, theirs odd; one pair per process that tests at the same time.
    third, fourth = (os.getpid() // 64) % 256, 4 * (os.getpid() % 64)
    here, there = f"10.213.{third}.{fourth + 1}", f"10.213.{third}.{fourth + 2}"
    commands = (
        ("ip", "netns", "add", name),
        ("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs),
        ("ip", "link", "set", theirs, "netns", name),
        ("ip", "addr", "add", f"{here}/30", "dev", ours),
        ("ip", "link", "set", ours, "up"),
        ("ip", "netns", "exec", name, "ip", "addr", "add", f"{there}/30", "dev", theirs),
        ("ip", "netns", "exec", name, "ip", "link", "set", theirs, "up"),
        ("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up"),
    )
    made = os.geteuid() == 0 and all(_works(*command) for command in commands)
    made = made and _works("iptables", "-w", "-L", "INPUT", "-n")
    joined = Island(name, here, ours)
    try:
        yield joined if made else None
    finally:
        if made:
            joined.mend()
        _works("ip", "link", "del", ours)
        _works("ip", "netns", "del", name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
