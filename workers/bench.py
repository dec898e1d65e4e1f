"""What a worker keeps from trial to trial: its device, decoded photos, networks, shared starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from losses._features import FeatureNetwork
from service.client import Client
from service.contract.study import Data
from service.contract.trial import Blob
from workers import weights
from workers.data.pairs import Pairs, Whole, validation
from workers.data.sources import Photo, disjoint, load
from workers.suppliers import Networks

#: Starts and resume points kept on disk; older ones are fetched again if ever needed.
_KEPT_BLOBS = 8


@dataclass
class Photos:
    """The photographs of one study, decoded once."""

    data: Data
    train: list[Photo]
    validation: list[Whole]
    pairs: dict[int, Pairs] = field(default_factory=dict)  #: by seed


class Bench:
    """Shared by all trials of a worker; only the last study's photographs are kept."""

    def __init__(
        self,
        client: Client,
        device: torch.device,
        folder: Path,
        *,
        load_network: Callable[[str], FeatureNetwork] = weights.feature_network,
    ) -> None:
        self.device = device
        self.folder = folder
        self.networks = Networks(load_network, device)
        self._client = client
        self._photos: Photos | None = None

    def photos(self, data: Data) -> Photos:
        """Return the decoded photographs of `data`; raises DataError."""
        if self._photos is None or self._photos.data != data:
            train, held_out = load(data.train), load(data.validation)
            disjoint(train, held_out)
            self._photos = Photos(data, train, validation(held_out, data.scale, device=self.device))
        return self._photos

    def pairs(self, data: Data, seed: int) -> Pairs:
        """Return the training crops of `data` in the order of `seed`; raises DataError."""
        photos = self.photos(data)
        if seed not in photos.pairs:
            photos.pairs = {
                seed: Pairs(
                    photos.train,
                    scale=data.scale,
                    patch=data.patch,
                    batch=data.batch,
                    augment=data.augment,
                    seed=seed,
                    device=self.device,
                )
            }
        return photos.pairs[seed]

    def fetched(self, blob: Blob) -> Path:
        """Return a stored object as a local file; raises the client's errors, and OSError."""
        shelf = self.folder / "blobs"
        path = shelf / blob.sha256
        if path.is_file():
            path.touch()  # by this it is known as used lately
            return path
        self._client.get_blob(blob, path)
        by_age = sorted(shelf.iterdir(), key=lambda file: file.stat().st_mtime)
        for old in by_age[:-_KEPT_BLOBS]:
            old.unlink(missing_ok=True)
        return path
