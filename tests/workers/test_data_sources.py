"""Folders and files of every kind become RGB photographs of 8 bits, or one clear sentence."""

from __future__ import annotations

import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from workers.data.decode import DataError, decode
from workers.data.sources import Photo, class_labels, disjoint, load


def _gradient(height: int = 20, width: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 9, columns * 7, rows + columns], axis=2).astype(np.uint8)


def _save(path: Path, mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_gradient()).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".PNG"])
def test_lossless_file_comes_back_pixel_for_pixel(tmp_path: Path, suffix: str) -> None:
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    path = _save(tmp_path / f"photo{suffix}", **options)
    pixels = decode(path)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous()
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), _gradient())


def test_grey_of_16_bits_is_scaled_not_clipped(tmp_path: Path) -> None:
    samples = np.array([[0, 128, 129, 257], [32768, 65278, 65407, 65535]], dtype=np.uint16)
    for suffix in ("png", "tiff"):
        Image.fromarray(samples).save(tmp_path / f"grey.{suffix}")
        pixels = decode(tmp_path / f"grey.{suffix}")
        expected = [[0, 0, 1, 1], [128, 254, 255, 255]]
        for channel in pixels:
            np.testing.assert_array_equal(channel.numpy(), expected)


def test_rgb_png_of_16_bits_keeps_its_high_bytes(tmp_path: Path) -> None:
    samples = (np.random.default_rng(1).integers(0, 65536, (5, 7, 3))).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(decode(path).permute(1, 2, 0).numpy(), samples >> 8)


def test_grey_is_repeated_over_the_channels(tmp_path: Path) -> None:
    pixels = decode(_save(tmp_path / "grey.png", "L"))
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    rgba = np.dstack([_gradient(), np.full((20, 30), 255, np.uint8)])
    rgba[:5, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    pixels = decode(tmp_path / "alpha.png").permute(1, 2, 0).numpy()
    assert (pixels[:5] == 255).all()
    np.testing.assert_array_equal(pixels[5:], _gradient()[5:])


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "palette.png", transparency=0)
    pixels = decode(tmp_path / "palette.png")
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 1, 1].tolist() == [40, 50, 60]


def test_orientation_of_the_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    pixels = decode(_save(tmp_path / "turned.png", exif=exif))
    expected = np.rot90(_gradient(), k=-1)
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), expected)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg")
    red, green, blue = decode(tmp_path / "ink.jpg").float().mean((1, 2)).tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("mode", ["1", "LA", "PA", "YCbCr", "LAB"])
def test_rarer_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    picture = Image.new(mode, (6, 4))
    path = tmp_path / "rare.tiff"
    picture.save(path)
    assert decode(path).shape == (3, 4, 6)


def test_folder_is_searched_deep_sorted_and_only_for_images(tmp_path: Path) -> None:
    for name in ("b/two.png", "c.PNG", "a.png", "b/a/one.jpg", ".hidden/x.png", "b/._mac.png"):
        _save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    names = [photo.name for photo in load([str(tmp_path)])]
    assert names == ["a.png", "b/a/one.jpg", "b/two.png", "c.PNG"]


def test_file_named_twice_is_loaded_once(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png")
    assert len(load([str(tmp_path), str(path)])) == 1


def test_equal_names_from_two_folders_are_told_apart(tmp_path: Path) -> None:
    for folder in ("day", "night"):
        _save(tmp_path / folder / "1.png")
    names = [photo.name for photo in load([str(tmp_path / "day"), str(tmp_path / "night")])]
    assert len(set(names)) == 2


def test_photographs_of_an_installed_package_are_found_without_importing_it() -> None:
    before = set(sys.modules)
    photos = load(["package:skimage/data/coffee.png", "package:sklearn/datasets/images"])
    assert [photo.name for photo in photos] == ["coffee.png", "china.jpg", "flower.jpg"]
    assert photos[0].pixels.shape == (3, 400, 600)
    assert not {"skimage", "sklearn"} & (set(sys.modules) - before)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("/nowhere/at/all", "does not exist"),
        ("package:no_such_package/x.png", "install it"),
        ("package:", "install it"),
        ("package:skimage/data/no_such_photo.png", "does not exist"),
    ],
)
def test_missing_source_is_one_sentence(source: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as raised:
        load([source])
    assert source in str(raised.value)


def test_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load([str(tmp_path)])


def test_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    _save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not an image")
    with pytest.raises(DataError, match=r"b\.png"):
        load([str(tmp_path)])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of odd TIFF tags
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp"])
def test_damaged_file_is_decoded_or_named_never_a_crash(tmp_path: Path, suffix: str) -> None:
    whole = _save(tmp_path / f"whole{suffix}").read_bytes()
    draws = random.Random(7)
    for _ in range(60):
        broken = bytearray(whole[: draws.randrange(1, len(whole) + 1)])
        for _ in range(draws.randrange(4)):
            broken[draws.randrange(len(broken))] ^= 1 << draws.randrange(8)
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(broken)
        try:
            outcome = f"{path.name} decoded as {decode(path).dtype}"
        except DataError as error:
            outcome = str(error)
        assert path.name in outcome


def test_truncated_photograph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"cut\.png is damaged"):
        decode(path)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="larger than 200 pixels"):
        decode(path)


def test_validation_photo_that_is_trained_on_is_found_under_another_name(tmp_path: Path) -> None:
    _save(tmp_path / "train" / "a.png")
    _save(tmp_path / "test" / "b.bmp")
    train, held = load([str(tmp_path / "train")]), load([str(tmp_path / "test")])
    with pytest.raises(DataError, match=r"b\.bmp.*a\.png"):
        disjoint(train, held)


def test_same_bytes_of_another_shape_are_another_photo() -> None:
    pixels = torch.zeros(3, 4, 6, dtype=torch.uint8)
    disjoint(
        [Photo("wide", pixels, Path("wide.png"))],
        [Photo("tall", pixels.reshape(3, 6, 4), Path("tall.png"))],
    )


def _three(folder: Path) -> tuple[str, str, str]:
    """Two folders of photographs in one, and a photograph beside them."""
    for name in ("faces/a", "faces/b", "text/c"):
        _save(folder / f"{name}.png")
    return str(folder), str(folder / "faces"), str(folder / "text")


def test_labels_are_places_of_the_photos_classes_in_the_order_of_loading(tmp_path: Path) -> None:
    both, faces, text = _three(tmp_path)
    assert [photo.name for photo in load([both])] == ["faces/a.png", "faces/b.png", "text/c.png"]
    assert class_labels(load([both]), {"text": [text], "face": [faces]}) == [1, 1, 0]
    assert class_labels(load([text, both]), {"text": [text], "face": [faces]}) == [0, 1, 1]


def test_classes_may_hold_photos_that_are_not_trained_on(tmp_path: Path) -> None:
    both, faces, text = _three(tmp_path)
    held_out = str(tmp_path / "faces" / "b.png")
    train = [str(tmp_path / "faces" / "a.png"), text]
    assert class_labels(load(train), {"face": [faces, held_out], "text": [both + "/text"]}) == [
        0,
        1,
    ]


def test_photo_in_no_class_in_two_and_class_without_photos_are_named(tmp_path: Path) -> None:
    both, faces, text = _three(tmp_path)
    with pytest.raises(DataError, match=r"faces/a\.png and 1 more of data\.train is in no class"):
        class_labels(load([both]), {"text": [text]})
    with pytest.raises(DataError, match=r"text/c\.png is in two classes.*all and text"):
        class_labels(load([both]), {"all": [both], "text": [text]})
    with pytest.raises(DataError, match=r"class text of data\.classes holds no photo"):
        class_labels(load([faces]), {"face": [faces], "text": [text]})
