"""Pictures for the lab book."""

from __future__ import annotations

import io

import torch
from PIL import Image

from workers.tracking import SystemMeter, png, tile
from workers.tracking.images import webp


def pixels(encoded: bytes) -> torch.Tensor:
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return data.reshape(picture.height, picture.width, 3).permute(2, 0, 1)


def flat(level: float, height: int, width: int) -> torch.Tensor:
    return torch.full((3, height, width), level)


def test_a_png_has_every_pixel() -> None:
    image = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    assert torch.equal(pixels(png(image / 255)), image.to(torch.uint8))
    assert torch.equal(pixels(webp(png(image / 255))), image.to(torch.uint8))


def test_values_outside_of_the_range_are_clipped() -> None:
    assert pixels(png(torch.tensor([-0.5, 0.5, 2.0]).reshape(3, 1, 1))).flatten().tolist() == [
        0,
        128,
        255,
    ]


def test_a_tile_shows_four_parts_in_a_square() -> None:
    parts = [flat(level, 120, 160) for level in (0.4, 0.6, 0.8)]
    shown = pixels(tile(flat(0.2, 60, 80), *parts, side=100))
    assert shown.shape == (3, 200, 200)
    middles = [shown[0, y, x].item() for y in (50, 150) for x in (50, 150)]
    assert middles == [51, 102, 153, 204]


def test_a_tile_of_a_small_photo_is_as_small_as_the_photo() -> None:
    lr, hr = flat(0.5, 12, 16), flat(0.5, 36, 48)
    assert pixels(tile(lr, hr, hr, hr)).shape == (3, 72, 72)


def test_the_meter_reads_this_process() -> None:
    meter = SystemMeter()
    sum(n * n for n in range(300_000))
    values = meter.read()
    assert values["system/cpu_percent"] > 5
    assert 20 < values["system/memory_mb"] < 100_000
