"""What a worker keeps from trial to trial: its device, decoded photos, networks, shared starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch

from service.contract.study import Data
from service.contract.trial import Blob
from workers import weights
from workers.allowance import EVERYTHING, Allowance
from workers.data.decode import DataError
from workers.data.pairs import Pairs, Whole, validation
from workers.data.sources import Photo, class_labels, disjoint, load
from workers.faces import Boxes, FaceDetector, detector, windows
from workers.suppliers import Networks, Pretrained

#: Brings a stored object to a path; a service's client does (`Client.get_blob`).
Fetch: TypeAlias = Callable[[Blob, Path], object]

#: Starts and resume points kept on disk; older ones are fetched again if ever needed.
_KEPT_BLOBS = 8


@dataclass
class Photos:
    """The photographs of one study, decoded once."""

    data: Data
    train: list[Photo]
    labels: list[int] | None  #: the class of each of `train`; None: the study has no classes
    validation: list[Whole]
    pairs: dict[int, Pairs] = field(default_factory=dict)  #: by seed
    faces: list[Boxes] | None = None  #: of each of `train`; None: nobody asked yet


class Bench:
    """Shared by all trials of a worker; only the last study's photographs are kept."""

    def __init__(
        self,
        fetch: Fetch,
        device: torch.device,
        folder: Path,
        *,
        pretrained: Pretrained = weights,
        face_detector: Callable[[], FaceDetector] = detector,
        allowed: Allowance = EVERYTHING,
    ) -> None:
        self.device = device
        self.folder = folder
        self.allowed = allowed
        self.networks = Networks(pretrained, device, allowed=allowed)
        #: The study whose photographs are kept; another trial of it begins sooner here.
        self.study: str | None = None
        self._fetch = fetch
        self._face_detector = face_detector
        self._photos: Photos | None = None

    def photos(self, data: Data) -> Photos:
        """Return the decoded photographs of `data`; raises DataError and DataNotAllowed."""
        if self._photos is None or self._photos.data != data:
            train, held_out = (
                load(sources, clip_frames=data.clip_frames, allowed=self.allowed)
                for sources in (data.train, data.validation)
            )
            disjoint(train, held_out)
            self._photos = Photos(
                data,
                train,
                class_labels(train, data.classes, allowed=self.allowed) if data.classes else None,
                validation(held_out, data.scale, device=self.device),
            )
        return self._photos

    def check(self, data: Data) -> None:
        """Raise DataNotAllowed unless all sources of `data` are open to studies; opens nothing."""
        for sources in (data.train, data.validation, *data.classes.values()):
            self.allowed.sources(sources)

    def pairs(self, data: Data, seed: int, *, faces: bool = False) -> Pairs:
        """Return the training crops of `data` in the order of `seed`, with their faces if asked.

        Raises DataError, and WeightsUnavailable without the detector of faces.
        """
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
                    labels=photos.labels,
                    device=self.device,
                )
            }
        pairs = photos.pairs[seed]
        return pairs.with_windows(partial(windows, self._faces(photos))) if faces else pairs

    def _faces(self, photos: Photos) -> list[Boxes]:
        """The faces of every photograph, looked for once."""
        if photos.faces is None:
            # On the CPU whatever the device: which faces there are is the same on all workers.
            found = self._face_detector()
            photos.faces = [found.detect(photo.pixels) for photo in photos.train]
        if not any(len(boxes.boxes) for boxes in photos.faces):
            raise DataError(
                f"no face was found in the {len(photos.train)} photos of data.train; add photos of "
                "people, set faces to whole for aligned crops, or remove the term that needs faces"
            )
        return photos.faces

    def fetched(self, blob: Blob) -> Path:
        """Return a stored object as a local file; raises the client's errors, and OSError."""
        shelf = self.folder / "blobs"
        path = shelf / blob.sha256
        # A power cut may leave a name without its bytes: nothing here is synced, all is fetched again.
        if path.is_file() and path.stat().st_size == blob.size:
            path.touch()  # by this it is known as used lately
            return path
        self._fetch(blob, path)
        by_age = sorted(shelf.iterdir(), key=lambda file: file.stat().st_mtime)
        for old in by_age[:-_KEPT_BLOBS]:
            old.unlink(missing_ok=True)
        return path
