"""Training batches and validation images, made from photographs that stay on the device."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch

from workers.data.decode import DataError
from workers.data.degrade import bicubic, mod_crop
from workers.data.planes import Planes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from losses._faces import Windows
    from workers.data.planes import Ints
    from workers.data.sources import Photo

    #: Where the faces of photographs are in crops of them: (photo, row, column, turn, side), one
    #: entry per crop except the side, in HR pixels.
    FaceWindows: TypeAlias = Callable[[Ints, Ints, Ints, Ints, int], Windows]


class Batch(NamedTuple):
    """Crops of one step, and what is known about them."""

    lr: Tensor  #: float (N, 3, p/scale, p/scale) in [0, 1]
    hr: Tensor  #: float (N, 3, p, p) in [0, 1]
    labels: Tensor | None = None  #: (N,) whole numbers on the CPU: the class of each crop's photo
    windows: Windows | None = None  #: where in the HR crops faces are; None: nobody looked


class Whole(NamedTuple):
    """A validation photograph."""

    name: str
    lr: Tensor  #: float (3, h, w) in [0, 1]
    hr: Tensor  #: uint8 (3, h·scale, w·scale)
    clip: str = ""  #: the clip it is a frame of; neighbours in a list are neighbours in time


def validation(
    photos: Sequence[Photo], scale: int, *, device: torch.device | str = "cpu"
) -> list[Whole]:
    """Return whole images with their low-resolution versions, in the order of `photos`."""
    wholes = []
    for photo in photos:
        hr = _divisible(photo, scale).to(device)
        wholes.append(Whole(photo.name, bicubic(hr, scale).float() / 255, hr, photo.clip))
    return wholes


class Pairs:
    """Random aligned crops of photographs, LR beside HR; a batch depends on (seed, step) alone.

    LR is made once, from the whole photograph and rounded to 8 bits, so that a crop sees what lies
    beyond its border, as it will in use. Every position of every photograph is equally likely, so
    a large photograph comes up more often. Both sizes stay on `device` as uint8: 3.75 bytes per HR
    pixel at scale 2.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        *,
        scale: int,
        patch: int,
        batch: int,
        augment: bool = True,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare crops of `patch` HR pixels a side, `batch` at a time; `labels` are the photos'.

        Raises DataError for a photograph smaller than the patch, ValueError for a patch that is
        not a multiple of scale.
        """
        if patch % scale:
            raise ValueError(f"patch {patch} is not a multiple of scale {scale}")
        if not photos:
            raise DataError("there is no photograph to train on; name some in data.train")
        self._scale, self._batch = scale, batch
        self._side = patch // scale
        self._seed, self._augment = seed, augment
        self._labels = None if labels is None else np.array(labels, dtype=np.int64)
        self._windows: FaceWindows | None = None
        high = [_large_enough(_divisible(photo, scale), photo, patch) for photo in photos]
        low = [bicubic(pixels.to(device), scale) for pixels in high]
        self._high, self._low = Planes.of(high, device), Planes.of(low, device)
        rows = np.array([pixels.shape[1] - self._side + 1 for pixels in low], dtype=np.int64)
        self._columns = np.array([p.shape[2] - self._side + 1 for p in low], dtype=np.int64)
        self._last = np.cumsum(rows * self._columns)

    def batch(self, step: int) -> Batch:
        """Return the crops of `step`."""
        photo, row, column, turn = self._draw(step)
        side, scale = self._side, self._scale
        lr = self._low.cut(photo, row, column, turn, side)
        row, column, side = row * scale, column * scale, side * scale
        hr = self._high.cut(photo, row, column, turn, side)
        labels = windows = None
        if self._labels is not None:
            labels = torch.from_numpy(self._labels[photo])
        if self._windows is not None:
            windows = self._windows(photo, row, column, turn, side)
        return Batch(lr, hr, labels, windows)

    def with_windows(self, windows: FaceWindows) -> Pairs:
        """Return the same pairs whose batches also tell where faces are; copies no photograph."""
        seeing = copy.copy(self)
        seeing._windows = windows
        return seeing

    def _draw(self, step: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Photo, row and column of the LR crop, and one of eight turns, for each of the batch.

        Philox counts instead of remembering: the step is its key, so nothing has to be saved.
        """
        draws = np.random.Generator(np.random.Philox(key=[self._seed, step]))
        position = draws.integers(self._last[-1], size=self._batch)
        turn = draws.integers(8, size=self._batch) if self._augment else np.zeros_like(position)
        photo = np.searchsorted(self._last, position, side="right")
        position -= np.where(photo > 0, self._last[photo - 1], 0)
        row, column = np.divmod(position, self._columns[photo])
        return photo, row, column, turn


def _divisible(photo: Photo, scale: int) -> Tensor:
    pixels = mod_crop(photo.pixels, scale)
    if 0 in pixels.shape:
        height, width = photo.pixels.shape[-2:]
        raise DataError(f"photo {photo.name} of {width}×{height} is too small for scale {scale}")
    return pixels


def _large_enough(pixels: Tensor, photo: Photo, patch: int) -> Tensor:
    if min(pixels.shape[-2:]) < patch:
        height, width = photo.pixels.shape[-2:]
        raise DataError(
            f"photo {photo.name} of {width}×{height} is smaller than data.patch {patch}; "
            "remove it, or train on smaller patches"
        )
    return pixels
