"""The machine's shelf of pretrained weights: fetched at first use, by one process, kept for all."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from workers.weights.archive import Progress
from workers.weights.catalogue import WeightsUnavailable, known
from workers.weights.convert import convert
from workers.weights.fetch import fetch

logger = logging.getLogger(__name__)


def folder() -> Path:
    """Return where weights are kept: `weights` in $SRTUNE_CACHE, else in ~/.cache/srtune."""
    cache = os.environ.get("SRTUNE_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "srtune") / "weights"


def cached(name: str) -> Path | None:
    """Return the file of `name` if this machine has it; fetches nothing."""
    target = _place(name)
    return target if target.is_file() else None


def path(name: str, progress: Progress | None = None) -> Path:
    """Return the safetensors file of `name`, fetching it if this machine has none yet.

    Its name carries the pinned digest, so that a new pin never reads an old file. `progress` is told
    of the bytes of a download, where it can be followed. Raises `WeightsUnavailable`.
    """
    target = _place(name)
    if not target.is_file():
        shelf = target.parent
        try:
            shelf.mkdir(parents=True, exist_ok=True)
            with _alone(shelf / f"{name}.lock"):
                if not target.is_file():
                    _fill(name, target, progress)
        except OSError as error:
            raise WeightsUnavailable(
                f"Weights {name} could not be written to {shelf}: {error.strerror or error}; make room there "
                "or set SRTUNE_CACHE to another folder."
            ) from error
    return target


def load(name: str) -> dict[str, Tensor]:
    """Return the float32 tensors of `name` under the key names `losses` reads."""
    file = path(name)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsUnavailable(
            f"{file} cannot be read ({error}); delete it, and it is fetched again."
        ) from error


def _place(name: str) -> Path:
    return folder() / f"{name}-{known(name).source.sha256[:8]}.safetensors"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when a process dies, so none is ever stale."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(name: str, target: Path, progress: Progress | None) -> None:
    weights = known(name)
    logger.info("fetching weights", extra={"weights": name, "source": weights.source.label})
    # Beside the target, since a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        work = Path(scratch)
        state = convert(fetch(weights.source, work, target.parent, progress), weights.format)
        partial = work / target.name
        save_file(
            state, partial, metadata={"source": weights.source.label, "licence": weights.licence}
        )
        partial.chmod(0o644)  # other users of this machine may share the shelf
        partial.replace(target)
