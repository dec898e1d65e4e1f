"""The machine's shelf of pretrained weights: fetched at first use, by one process, kept for all."""

from __future__ import annotations

import difflib
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

from losses._features import FeatureNetwork, network
from workers.weights.catalogue import CATALOGUE, Weights, WeightsUnavailable
from workers.weights.convert import convert
from workers.weights.fetch import fetch

logger = logging.getLogger(__name__)


def folder() -> Path:
    """Return where weights are kept: `weights` in $SRTUNE_CACHE, else in ~/.cache/srtune."""
    cache = os.environ.get("SRTUNE_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "srtune") / "weights"


def path(name: str) -> Path:
    """Return the safetensors file of `name`, fetching it if this machine has none yet.

    Its name carries the pinned digest, so that a new pin never reads an old file. Raises
    `WeightsUnavailable`.
    """
    weights = _known(name)
    shelf = folder()
    target = shelf / f"{name}-{weights.source.sha256[:8]}.safetensors"
    if not target.is_file():
        try:
            shelf.mkdir(parents=True, exist_ok=True)
            with _alone(shelf / f"{name}.lock"):
                if not target.is_file():
                    _fill(name, weights, target)
        except OSError as error:
            raise WeightsUnavailable(
                f"Weights {name} could not be written to {shelf}: {error.strerror or error}; make room there "
                "or set SRTUNE_CACHE to another folder."
            ) from error
    return target


def load(name: str) -> dict[str, Tensor]:
    """Return the float32 tensors of `name` under torchvision's key names."""
    file = path(name)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsUnavailable(
            f"{file} cannot be read ({error}); delete it, and it is fetched again."
        ) from error


def feature_network(name: str) -> FeatureNetwork:
    """Return the pretrained network `name`, frozen, with the preprocessing its weights expect."""
    weights = _known(name)
    return network(weights.network, load(name), weights.preprocessing)


def _known(name: str) -> Weights:
    if name in CATALOGUE:
        return CATALOGUE[name]
    close = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise WeightsUnavailable(f"No weights {name!r}; known are {', '.join(CATALOGUE)}.{hint}")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when a process dies, so none is ever stale."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(name: str, weights: Weights, target: Path) -> None:
    logger.info("fetching weights", extra={"weights": name, "source": weights.source.label})
    # Beside the target, since a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        work = Path(scratch)
        state = convert(fetch(weights.source, work, target.parent), weights.format)
        partial = work / target.name
        save_file(
            state, partial, metadata={"source": weights.source.label, "licence": weights.licence}
        )
        partial.chmod(0o644)  # other users of this machine may share the shelf
        partial.replace(target)
