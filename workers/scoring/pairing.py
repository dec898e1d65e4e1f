"""Which file is compared with which."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from workers.data.decode import IMAGES
from workers.data.media import VIDEOS, MediaUnusable

_SHOWN = 3  #: names in a sentence, before "and 7 more"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clips, or two stills, of the same thing; frame k of one belongs to frame k of the other."""

    name: str
    reference: tuple[Path, ...]  #: a video, a still, or the consecutive pictures of a clip
    distorted: tuple[Path, ...]
    still: bool

    def frame_name(self, index: int) -> str:
        """Return what a table calls a frame: its file, with #index inside a video."""
        if len(self.reference) > 1 or self.still:
            return self.reference[index].name
        return f"{self.name}#{index}"


def pairs(reference: Path, distorted: Path, *, sequence: bool = False) -> list[Pair]:
    """Return the pairs of two files, or of two folders by name, in order of names.

    Files of folders belong together if they have the same name, or the same up to the last dot.
    Hidden files and files that are neither image nor video are passed over. With `sequence` the
    images of a folder are one clip, in the order of their names with numbers as numbers.

    Raises MediaUnusable for what is missing, has no partner, or is of different kinds.
    """
    for path in (reference, distorted):
        if not path.exists():
            raise MediaUnusable(f"{path} does not exist")
    if reference.is_dir() != distorted.is_dir():
        folder, file = (reference, distorted) if reference.is_dir() else (distorted, reference)
        raise MediaUnusable(
            f"{folder} is a folder and {file} a file; give two files or two folders"
        )
    if not reference.is_dir():
        if sequence:
            raise MediaUnusable(f"--sequence reads folders of images, but {reference} is a file")
        return [_pair(reference, distorted)]
    found = _by_name(reference, distorted)
    if not sequence:
        return [_pair(*files) for files in found]
    if videos := [path for files in found for path in files if not _is_image(path)]:
        raise MediaUnusable(f"--sequence reads images, but {videos[0]} is a video; leave it out")
    refs, distorteds = zip(*found, strict=True)
    return [Pair(reference.name, refs, distorteds, still=False)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES


def _pair(reference: Path, distorted: Path) -> Pair:
    still = _is_image(reference)
    if still != _is_image(distorted):
        image, video = (reference, distorted) if still else (distorted, reference)
        raise MediaUnusable(f"{image} is an image and {video} a video; give two of a kind")
    return Pair(reference.name, (reference,), (distorted,), still)


def _by_name(reference: Path, distorted: Path) -> list[tuple[Path, Path]]:
    ours, theirs = _media(reference), _media(distorted)
    lonely = [f"{ours[stem]} has no partner in {distorted}" for stem in ours if stem not in theirs]
    lonely += [f"{theirs[s]} has no partner in {reference}" for s in theirs if s not in ours]
    if lonely:
        more = f", and {len(lonely) - _SHOWN} more have none" if len(lonely) > _SHOWN else ""
        raise MediaUnusable("; ".join(lonely[:_SHOWN]) + more)
    return [(ours[stem], theirs[stem]) for stem in sorted(ours, key=_numbered)]


def _media(folder: Path) -> dict[str, Path]:
    """Images and videos by name without ending; a name that comes twice keeps its endings."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        wanted = path.suffix.lower() in IMAGES | VIDEOS
        if wanted and path.is_file() and not path.name.startswith("."):
            by_stem[path.stem].append(path)
    if not by_stem:
        raise MediaUnusable(f"{folder} holds no image or video")
    named: dict[str, Path] = {}
    for stem, paths in by_stem.items():
        named |= {stem: paths[0]} if len(paths) == 1 else {path.name: path for path in paths}
    return named


def _numbered(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts frame2 before frame10."""
    pieces: list[tuple[int, int, str]] = []
    digits = ""
    for letter in [*name, ""]:
        if letter.isdecimal():
            digits += letter
            continue
        if digits:
            pieces.append((0, int(digits), digits))
            digits = ""
        pieces.append((1, 0, letter))
    return tuple(pieces)
