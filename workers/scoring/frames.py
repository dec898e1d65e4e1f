"""Frames of the reference beside those of the distorted, one after the other, ready for metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from workers.data.clips import HD
from workers.data.colour import rgb
from workers.data.media import MediaUnusable, Picture, Plane, pictures
from workers.metrics import ImageUnusable, Still
from workers.scoring import colour

if TYPE_CHECKING:
    from workers.data.media import Matrix
    from workers.scoring.pairing import Pair

#: Makes the distorted picture of a reference picture, where no file has it.
Maker: TypeAlias = Callable[[Picture], Picture]


@dataclass(frozen=True, slots=True)
class Reading:
    """How pixels become luma and RGB; `matrix` overrides what files declare, None follows them."""

    matrix: Matrix | None = None
    scale: int | None = None

    def matrix_of(self, picture: Picture, other: Picture) -> Matrix:
        """Return the matrix between luma and RGB of a picture; the other side's, if it has none."""
        if declared := self.matrix or picture.matrix or other.matrix:
            return declared
        is_hd = picture.model == "yuv" and picture.size[1] >= HD
        return "bt709" if is_hd else "bt601"


class FramePair(Still):
    """One frame of both sides. Luma is what a video stores; RGB is made when a metric asks for it."""

    def __init__(
        self, index: int, name: str, reference: Picture, distorted: Picture, reading: Reading
    ) -> None:
        values = {"index": index, "name": name, "reference": reference, "distorted": distorted}
        self.__dict__ |= values | {"reading": reading}

    index: int
    name: str
    reference: Picture
    distorted: Picture
    reading: Reading

    @property
    def scale(self) -> int:
        """The factor of SR; metrics that depend on it cannot do without."""
        if self.reading.scale is None:
            raise ImageUnusable("it depends on the factor of super-resolution; add --scale")
        return self.reading.scale

    def inside(self, image: Tensor) -> Tensor:
        """Cut the border of `scale` pixels; nothing where no scale was given."""
        if self.reading.scale is None:
            return image
        if min(image.shape[-2:]) <= 2 * self.scale:
            raise ImageUnusable(f"nothing is left inside a border of {self.scale} pixels")
        return super().inside(image)

    @cached_property
    def hr(self) -> Tensor:
        return self._rgb(self.reference)

    @cached_property
    def sr(self) -> Tensor:
        return self._rgb(self.distorted)

    @cached_property
    def hr_luma(self) -> Tensor:
        return self._luma(self.reference)

    @cached_property
    def sr_luma(self) -> Tensor:
        return self._luma(self.distorted)

    @cached_property
    def hr_codes(self) -> Plane:
        """Luma code values (H, W) for VMAF."""
        return self._codes(self.reference)

    @cached_property
    def sr_codes(self) -> Plane:
        return self._codes(self.distorted)

    def _rgb(self, picture: Picture) -> Tensor:
        if picture.model == "grey":
            raise ImageUnusable("it needs colour, and the clip holds luma alone; leave it out")
        return rgb(picture, self._matrix(picture), full_range=bool(picture.full_range))

    def _matrix(self, picture: Picture) -> Matrix:
        other = self.distorted if picture is self.reference else self.reference
        return self.reading.matrix_of(picture, other)

    def _luma(self, picture: Picture) -> Tensor:
        if picture.model == "rgb":
            colours = self.hr if picture is self.reference else self.sr
            return colour.luma(colours, self._matrix(picture))
        # With a peak of 255, metrics then give for 10 bits what they give with a peak of 1023.
        return torch.from_numpy(picture.planes[0]).double().mul_(255 / (2**picture.bits - 1))

    def _codes(self, picture: Picture) -> Plane:
        if picture.model != "rgb":
            return picture.planes[0]
        luma = self.hr_luma if picture is self.reference else self.sr_luma
        return luma.round().numpy().astype(np.uint8)


@dataclass
class Seen:
    """What the frames looked like, for the report; filled while they come."""

    reference: Picture | None = None
    distorted: Picture | None = None
    sizes: set[tuple[int, int]] = field(default_factory=set)
    matrices_differ: bool = False
    motionless: list[int] = field(default_factory=list)  #: stills, and clips of one frame

    def note(self, frame: FramePair) -> None:
        if self.reference is None or self.distorted is None:
            # Their pixels are not needed, and 1080p is not to be kept.
            self.reference = replace(frame.reference, planes=frame.reference.planes[:1])
            self.distorted = replace(frame.distorted, planes=frame.distorted.planes[:1])
        self.sizes.add(frame.reference.size)
        declared = {frame.reference.matrix, frame.distorted.matrix} - {None}
        self.matrices_differ |= len(declared) > 1


def frame_pairs(pair: Pair, reading: Reading, maker: Maker | None = None) -> Iterator[FramePair]:
    """Yield the frames of a pair in order; with `maker`, the distorted are made of the reference.

    Raises MediaUnusable where they do not fit together: size, depth, colour, range, number.
    """
    ref = chain.from_iterable(map(pictures, pair.reference))
    shown = pair.distorted if maker is None else pair.reference
    dis: Iterator[Picture] = chain.from_iterable(map(pictures, shown))
    if maker is not None:
        dis = map(maker, dis)
    before: Picture | None = None
    for index, (reference, distorted) in enumerate(zip_longest(ref, dis)):
        if reference is None or distorted is None:
            short, long = ("distorted", "reference") if reference else ("reference", "distorted")
            raise MediaUnusable(
                f"{pair.name}: the {short} clip ends after {index} frames and the {long} one goes on; "
                "cut both to the same frames"
            )
        where = pair.frame_name(index)
        _check(where, reference, distorted)
        if before is not None and (reference.size, reference.bits) != (before.size, before.bits):
            raise MediaUnusable(
                f"{where}: the frames before were {_looks(before)}, this one is not"
            )
        yield FramePair(index, where, reference, distorted, reading)
        before = reference


def _check(where: str, reference: Picture, distorted: Picture) -> None:
    if reference.size != distorted.size:
        sizes = " and ".join("×".join(map(str, picture.size)) for picture in (reference, distorted))
        raise MediaUnusable(
            f"{where}: the sizes differ, reference and distorted are {sizes}; compare the finished "
            "enlargement with the original"
        )
    if reference.bits != distorted.bits:
        raise MediaUnusable(
            f"{where}: the reference has {reference.bits} bits and the distorted {distorted.bits}; "
            "bring both to one depth"
        )
    if (reference.model == "rgb") != (distorted.model == "rgb"):
        raise MediaUnusable(
            f"{where}: the reference is {reference.pixel_format} and the distorted "
            f"{distorted.pixel_format}; give both as RGB or both as YUV"
        )
    if bool(reference.full_range) != bool(distorted.full_range):
        full, other = (
            ("reference", "distorted") if reference.full_range else ("distorted", "reference")
        )
        raise MediaUnusable(
            f"{where}: the {full} clip declares full range and the {other} one does not, so their "
            "code values mean different things; bring both to one range"
        )


def _looks(picture: Picture) -> str:
    return f"{'×'.join(map(str, picture.size))} with {picture.bits} bits"
