"""The state of a training as one file: written whole or not at all, read without running code."""

from __future__ import annotations

import copy
import errno
import io
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

FORMAT = 2
#: EFBIG is what a quota on the size of files answers; for the user it is the same full disk.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskFull(Exception):
    """A checkpoint could not be stored; the sentence names the folder."""


class CheckpointUnreadable(Exception):
    """A file is not a checkpoint of this training."""


@dataclass
class Companion:
    """A network that a loss has trained beside the generator, and its optimiser."""

    network: nn.Module
    optimizer: Optimizer


@dataclass
class TrainState:
    """Everything that changes in a training; equal states go on equally, bit for bit.

    No random numbers are among it: batches are counted, not drawn (`Pairs.batch(step)`), so `step`
    is also the position in the data.
    """

    generator: nn.Module
    optimizer: Optimizer
    averaged: nn.Module | None = None  #: running average of the generator; None: not kept
    companions: dict[str, Companion] = field(default_factory=dict)  #: by the key of their term
    step: int = 0  #: optimiser steps taken
    seconds: float = 0.0  #: spent in them, over all attempts

    @property
    def scored(self) -> nn.Module:
        """The generator that is scored and exported: the averaged one, if there is one."""
        return self.generator if self.averaged is None else self.averaged

    def save(self, path: Path) -> None:
        """Write the state to `path`, replacing what was there; raises DiskFull."""
        save(
            {
                "generator": self.generator.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "averaged": self.averaged and self.averaged.state_dict(),
                "companions": {
                    key: (c.network.state_dict(), c.optimizer.state_dict())
                    for key, c in self.companions.items()
                },
                "step": self.step,
                "seconds": self.seconds,
            },
            path,
        )

    def restore(self, path: Path) -> None:
        """Go back to the state in `path`; raises CheckpointUnreadable if it is another training's."""
        found = load(path)
        try:
            self.generator.load_state_dict(found["generator"])
            self.optimizer.load_state_dict(found["optimizer"])
            if self.averaged is not None:
                self.averaged.load_state_dict(found["averaged"])
            for key, companion in self.companions.items():
                network, optimizer = found["companions"][key]
                companion.network.load_state_dict(network)
                companion.optimizer.load_state_dict(optimizer)
            self.step, self.seconds = int(found["step"]), float(found["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointUnreadable(
                f"{path} is the checkpoint of another training ({error}); start this one afresh"
            ) from error


def average_of(generator: nn.Module) -> nn.Module:
    """Return a copy of a generator to average into: same weights, without gradients."""
    return copy.deepcopy(generator).requires_grad_(False).eval()


def save(content: dict[str, Any], path: Path) -> None:
    """Write tensors, numbers and plain containers of them to `path`, whole or not at all.

    Raises DiskFull.
    """
    # Through memory: torch's own file writer hides a full disk behind a RuntimeError.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT} | content, buffer)
    write(buffer.getbuffer(), path)


def write(content: bytes | memoryview, path: Path) -> None:
    """Write bytes to `path`, whole or not at all; raises DiskFull."""
    # Not synced: what must survive a power cut is the service's copy, and a sync can take seconds
    # on a busy disk while training waits.
    partial = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in FULL:
            raise disk_full(path, len(content)) from error
        raise


def disk_full(path: Path, size: int | None = None) -> DiskFull:
    """The error for a disk without room for `size` bytes at `path`."""
    what = "data" if size is None else f"{size / 1e6:.1f} MB"
    return DiskFull(
        f"there is no room for {what} in {path.parent} of this worker; free some, or give the "
        "worker another folder"
    )


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return what `save` wrote; raises CheckpointUnreadable."""
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        said = str(error).split(". ")[0]
        raise CheckpointUnreadable(f"{path} cannot be read ({said}); fetch it again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CheckpointUnreadable(
            f"{path} was not written by this version of srtune; start the trial afresh"
        )
    return found
