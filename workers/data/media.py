"""Pictures out of image files and video, with their values as the file stores them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from workers.data.decode import IMAGES, DataError, decode

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane

#: Weights of red, green and blue in luma, by the standard that has them.
Matrix = Literal["bt601", "bt709", "bt2020"]
Plane: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

#: What files of video end in; others are video too if PyAV can read them.
VIDEOS = frozenset(
    [
        ".y4m",
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".wmv",
        ".flv",
        ".ogv",
        ".h264",
        ".hevc",
        ".ivf",
    ]
)
#: What FFmpeg may take a file for, and read of: itself. Without this, a file that is named like a
#: clip and holds a play list makes FFmpeg open what the list names.
_ITSELF = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,"
    "ogg,h264,hevc,av1,obu,vc1,ivf,yuv4mpegpipe,gif,apng,mxf,nut,dv,mjpeg",
}
BITS = (8, 10, 12)
#: Luma and chroma in planes of their own. yuvj is YUV of full range.
_PLANAR = re.compile(r"(gray|yuv(?P<full>j)?a?4[0-4][0-4]p)(8|10|12)?(le|be)?")
#: The same values in other packings.
_UNPACKED = {"nv12": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "p010le": "yuv420p10le"}
#: FFmpeg's numbers for matrices that files declare, and for ranges.
_MATRICES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
_RANGES = {1: False, 2: True}


class MediaUnusable(DataError):
    """A file, a folder, or two of them together, cannot be scored; the sentence says which and why."""


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """One picture with its values as stored: nothing is stretched, clipped or rounded."""

    planes: tuple[Plane, ...]  #: luma; or Y, Cb, Cr, chroma perhaps smaller; or R, G, B
    model: Literal["rgb", "yuv", "grey"]
    pixel_format: str = "rgb24"  #: FFmpeg's name
    bits: int = 8
    matrix: Matrix | None = None  #: of YUV, if the file declares one
    full_range: bool | None = None  #: of luma, if the file declares it

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.planes[0].shape
        return width, height


def pictures(path: Path) -> Iterator[Picture]:
    """Yield the one picture of an image file, as `decode` reads it, or all of a video in order.

    Raises MediaUnusable or DataError for a file that is damaged, cut short, or stores its values in
    a way that VMAF has no meaning for.
    """
    if path.suffix.lower() in IMAGES:
        yield Picture(tuple(decode(path).numpy()), "rgb")
        return
    try:
        with av.open(str(path), options=_ITSELF) as container:
            yield from _decoded(container, path)
    except (av.FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaUnusable(
            f"{path} cannot be decoded ({reason}); it is damaged or no image or video: replace it"
        ) from error


def announced(path: Path) -> int | None:
    """Return how many pictures the file says it has; None if it does not, or cannot be read."""
    if path.suffix.lower() in IMAGES:
        return 1
    try:
        with av.open(str(path), options=_ITSELF) as container:
            return container.streams.video[0].frames or None
    except (av.FFmpegError, IndexError, UnicodeDecodeError):
        return None


def _decoded(container: InputContainer, path: Path) -> Iterator[Picture]:
    if not container.streams.video:
        raise MediaUnusable(f"{path} has no video in it; give an image or a video")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    count, end, last = 0, 0, 0.0
    for packet in container.demux(stream):
        if packet.size and packet.pos is not None:
            end = packet.pos + packet.size
        for frame in packet.decode():
            if packet.is_corrupt or frame.is_corrupt:
                raise MediaUnusable(f"{path} is damaged at frame {count}; replace it")
            yield _picture(frame, path)
            count, last = count + 1, frame.time or last
        if packet.is_corrupt:
            raise MediaUnusable(f"{path} is cut short after frame {count - 1}; replace it")
    _check_whole(container, path, count, end, last)


def _check_whole(container: InputContainer, path: Path, count: int, end: int, last: float) -> None:
    """Refuse what FFmpeg passes over in silence: a clip that was cut in the middle."""
    if not count:
        raise MediaUnusable(f"{path} holds no frame; replace it")
    seconds = (container.duration or 0) / av.time_base
    is_y4m = container.format.name == "yuv4mpegpipe"
    alone = len(container.streams) == 1 and container.format.name.startswith("matroska")
    # The last frame begins one frame before the end; three more for files that round.
    missing = alone and last + 4 * (last / max(1, count - 1)) < seconds
    if missing or (is_y4m and end < path.stat().st_size):
        raise MediaUnusable(f"{path} is cut short after frame {count - 1}; replace it")


def _picture(frame: VideoFrame, path: Path) -> Picture:
    name = frame.format.name
    matrix, full_range = _MATRICES.get(frame.colorspace), _RANGES.get(frame.color_range)
    if frame.format.is_rgb or name == "pal8":
        rgb = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        return Picture(tuple(np.ascontiguousarray(rgb.transpose(2, 0, 1))), "rgb", name)
    planar = frame.reformat(format=_UNPACKED[name]) if name in _UNPACKED else frame
    known = _PLANAR.fullmatch(planar.format.name)
    bits = planar.format.components[0].bits
    if known is None or bits not in BITS:
        raise MediaUnusable(
            f"{path} stores pixels as {name}, which VMAF does not take; convert it, as with "
            f"`ffmpeg -i {path.name} -pix_fmt {'yuv420p' if bits <= 8 else 'yuv420p10le'} OUT.y4m`"
        )
    if known["full"]:
        full_range = True
    big = planar.format.name.endswith("be")
    planes = tuple(_values(plane, bits, big=big) for plane in planar.planes[:3])
    grey = planar.format.name.startswith("gray")
    model: Literal["yuv", "grey"] = "grey" if grey else "yuv"
    return Picture(planes[:1] if grey else planes, model, name, bits, matrix, full_range)


def _values(plane: VideoPlane, bits: int, *, big: bool) -> Plane:
    """Copy a plane byte by byte; FFmpeg's own way from grey to an array stretches the range."""
    stored = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2" if big else "<u2")
    buffer: Any = plane  # it offers its bytes, which its stub does not say
    lines = np.frombuffer(buffer, stored).reshape(plane.height, -1)[:, : plane.width]
    return lines.astype(np.uint8) if bits == 8 else lines.astype(np.uint16)
