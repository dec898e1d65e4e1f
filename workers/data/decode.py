"""One image file becomes one RGB picture of 8 bits, whatever it was."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

#: What files of images end in.
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})

#: What Pillow raises for broken files; its plugins let their parsers' own errors through.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_BROKEN_INSIDE = (struct.error, zlib.error, OverflowError, AttributeError)


class DataError(Exception):
    """The photographs cannot be used as they are; the sentence names the path and the remedy."""


def decode(path: Path) -> Tensor:
    """Return the picture in `path` as uint8 (3, H, W), RGB, upright.

    - EXIF orientation is applied, so that a portrait photo is a portrait.
    - 16-bit samples are scaled by 1/257 and rounded; 16-bit RGB PNG is cut to its high bytes, since
      Pillow reads no more of it.
    - Transparent pixels are laid over white: what lies under them is often garbage.
    - Grey is repeated over the channels, palettes are looked up, CMYK goes by Pillow's plain
      formula. Colour profiles are ignored, as every SR trainer does.
    - Of an animation or a multi-page TIFF the first picture counts.

    Raises DataError for anything that is not a complete image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            picture = _rgb(ImageOps.exif_transpose(image), path)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path} claims to be larger than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; "
            "cut it into smaller pictures"
        ) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image that can be read; remove or convert it") from error
    except (*_BROKEN, *_BROKEN_INSIDE) as error:
        raise DataError(f"{path} is damaged ({error}); replace or remove it") from error
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """8-bit RGB, (H, W, 3)."""
    if image.mode.startswith("I"):
        return _from_16_bit(np.asarray(image).astype(np.int64), path)
    if image.mode == "F":
        raise DataError(f"{path} holds floating-point samples; convert it to 8 or 16 bits")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        image = Image.alpha_composite(white, picture)
    return np.array(image.convert("RGB"))


def _from_16_bit(samples: NDArray[np.int64], path: Path) -> NDArray[np.uint8]:
    """Grey of 16 bits; Pillow's own conversion would clip everything above 255 to white."""
    if samples.min() < 0 or samples.max() > 65535:
        raise DataError(f"{path} holds samples beyond 16 bits; convert it to 8 or 16 bits")
    grey = ((samples + 128) // 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
