"""What a study calls `data.train` becomes photographs in memory."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workers.allowance import EVERYTHING, Allowance
from workers.data.clips import frames
from workers.data.decode import IMAGES, DataError, decode
from workers.data.media import VIDEOS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_SUFFIXES = IMAGES | VIDEOS


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One photograph, or one frame of a clip, decoded."""

    name: str  #: its path below the source, for people
    pixels: Tensor  #: uint8 (3, H, W), RGB
    path: Path  #: the file it comes from
    clip: str = ""  #: the clip it is a frame of, whose frames follow one another; empty: a still


def load(
    sources: Sequence[str], *, clip_frames: int = 32, allowed: Allowance = EVERYTHING
) -> list[Photo]:
    """Return the photographs of all sources, each once, in the order of sources and paths.

    A source is a folder (searched recursively; files of other kinds and hidden ones are passed
    over), a file, or `package:skimage/data/coffee.png`: a file or folder that an installed Python
    package carries. Of a clip the first `clip_frames` frames are taken. See `decode` and `frames`
    for what becomes of depth, alpha, orientation and matrix.

    Raises DataError for a missing path, an empty folder, or a file that cannot be decoded, and
    DataNotAllowed for what is not `allowed`, before anything is opened.
    """
    found = _listed(sources, allowed)
    names = Counter(found.values())
    told = {path: name if names[name] == 1 else path.as_posix() for path, name in found.items()}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        every = pool.map(lambda path: _photos(path, told[path], clip_frames), found)
        return [photo for photos in every for photo in photos]


def _photos(path: Path, name: str, clip_frames: int) -> list[Photo]:
    """The one photograph of an image file, or the first frames of a clip."""
    if path.suffix.lower() not in VIDEOS:
        return [Photo(name, decode(path), path)]
    return [
        Photo(f"{name}#{index:04d}", pixels, path, clip=name)
        for index, pixels in enumerate(frames(path, clip_frames))
    ]


def class_labels(
    photos: Sequence[Photo],
    classes: Mapping[str, Sequence[str]],
    *,
    allowed: Allowance = EVERYTHING,
) -> list[int]:
    """Return the class of each photograph, as its place in `classes`.

    A class is named with sources as `load` takes them; what they hold beside `photos` is passed
    over. Raises DataError for a photo in no class or in two, and for a class without any.
    """
    found = {photo.path: photo.name for photo in photos}
    labels: dict[Path, int] = {}
    for label, (name, members) in enumerate(classes.items()):
        own = [path for path in _listed(members, allowed) if path in found]
        if not own:
            raise DataError(
                f"class {name} of data.classes holds no photo of data.train; name some, or drop it"
            )
        for path in own:
            if labels.setdefault(path, label) != label:
                both = f"{list(classes)[labels[path]]} and {name}"
                raise DataError(
                    f"photo {found[path]} is in two classes of data.classes, {both}; leave it in one"
                )
    if missing := [name for path, name in found.items() if path not in labels]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"photo {missing[0]}{more} of data.train is in no class of data.classes; give every "
            "photo one"
        )
    return [labels[photo.path] for photo in photos]


def disjoint(train: Sequence[Photo], validation: Sequence[Photo]) -> None:
    """Raise DataError if a validation photo is also trained on, under whatever name.

    Scores on photographs seen in training say nothing about weights.
    """
    trained = {_digest(photo): photo.name for photo in train}
    for photo in validation:
        if twin := trained.get(_digest(photo)):
            raise DataError(
                f"data.validation holds {photo.name}, which data.train holds too (as {twin}); "
                "remove it from one of them"
            )


def _digest(photo: Photo) -> bytes:
    shape = repr(tuple(photo.pixels.shape)).encode()
    return hashlib.sha256(shape + photo.pixels.contiguous().numpy().tobytes()).digest()


def _listed(sources: Sequence[str], allowed: Allowance) -> dict[Path, str]:
    """The image files of all sources, each once, with its name below the first that holds it."""
    found: dict[Path, str] = {}
    for source in sources:
        for path, name in _files(source, allowed):
            found.setdefault(path, name)
    return found


def _files(source: str, allowed: Allowance) -> list[tuple[Path, str]]:
    """Each image file of a source, with its name below the source."""
    place = allowed.source(source)
    if place is None:
        name = source.removeprefix("package:").partition("/")[0]
        raise DataError(
            f"{source} needs the Python package `{name}`, which this worker does not have; "
            "install it there, or use other photos"
        )
    root = place.path
    if root.is_file():
        return [(root.resolve(), root.name)]
    if not root.is_dir():
        raise DataError(f"{source} does not exist on this worker; correct the path or mount it")
    try:
        files = sorted(path for path in root.rglob("*") if _wanted(path, root))
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error}); correct its permissions") from error
    if not files:
        kinds = ", ".join(sorted(suffix[1:] for suffix in _SUFFIXES))
        raise DataError(
            f"{source} holds no images or clips; put files of these kinds there: {kinds}"
        )
    for path in files:
        place.check(path)  # a link in an open folder may lead out of it
    return [(path.resolve(), path.relative_to(root).as_posix()) for path in files]


def _wanted(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in _SUFFIXES and not hidden and path.is_file()
