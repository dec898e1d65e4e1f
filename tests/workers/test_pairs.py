"""Training crops are aligned, even over all positions, and a function of seed and step alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from losses._faces import Windows
from workers.data.decode import DataError
from workers.data.degrade import bicubic
from workers.data.pairs import Pairs, validation
from workers.data.planes import Planes
from workers.data.sources import Photo


def _photo(name: str, height: int, width: int, seed: int = 0) -> Photo:
    generator = torch.Generator().manual_seed(seed)
    size = (3, height, width)
    pixels = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    return Photo(name, pixels, Path(name))


PHOTOS = [_photo("a", 50, 61, 1), _photo("b", 90, 47, 2)]


def _pairs(**changes: object) -> Pairs:
    arguments: dict[str, object] = {"scale": 2, "patch": 24, "batch": 8, "seed": 5}
    return Pairs(PHOTOS, **(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("augment", [False, True])
def test_lr_is_the_degraded_hr_of_the_same_place_and_turn(scale: int, augment: bool) -> None:
    lr, hr = _pairs(scale=scale, augment=augment, batch=16).batch(3)[:2]
    assert hr.shape == (16, 3, 24, 24)
    assert lr.shape == (16, 3, 24 // scale, 24 // scale)
    again = bicubic(hr, scale).clamp(0, 1)
    inside = (again - lr)[:, :, 2:-2, 2:-2].abs()  # beyond it the crop lacks its surroundings
    assert inside.max() <= 0.5 / 255 + 1e-6


def test_batch_depends_on_seed_and_step_alone() -> None:
    one, other = _pairs(), _pairs()
    for step in (9, 2, 5):
        one.batch(step)
    torch.rand(3)
    np.random.default_rng().random()
    here, there = one.batch(7), other.batch(7)
    assert torch.equal(here.lr, there.lr)
    assert torch.equal(here.hr, there.hr)


def test_steps_and_seeds_give_different_crops() -> None:
    batches = [_pairs(seed=seed).batch(step).hr for seed in (0, 1) for step in (0, 1)]
    for k, batch in enumerate(batches):
        assert not any(torch.equal(batch, other) for other in batches[k + 1 :])


def test_every_crop_is_a_piece_of_some_photo() -> None:
    hr = _pairs(augment=False, batch=32).batch(0).hr
    pieces = {
        piece.numpy().tobytes()
        for photo in PHOTOS
        for rows in photo.pixels.unfold(1, 24, 2).unfold(2, 24, 2).unbind(1)
        for piece in rows.unbind(1)
    }
    for crop in (hr * 255).round().to(torch.uint8):
        assert crop.numpy().tobytes() in pieces


def test_all_positions_are_equally_likely() -> None:
    """One photo with 4 positions, one with 1: drawn 4 to 1, and each position equally often."""
    photos = [_photo("two by two", 26, 26, 1), _photo("one", 24, 24, 2)]
    pairs = Pairs(photos, scale=2, patch=24, batch=256, augment=False)
    counts: dict[bytes, int] = {}
    for step in range(20):
        for crop in pairs.batch(step).lr:
            key = crop.numpy().tobytes()
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 5
    # 5120 draws, deviation of each count 28.6: five deviations.
    assert all(abs(count - 1024) < 143 for count in counts.values())


def test_all_eight_turns_come_up() -> None:
    pairs = Pairs([_photo("one", 24, 24)], scale=2, patch=24, batch=256)
    crops = {crop.numpy().tobytes() for crop in pairs.batch(0).hr}
    photo = PHOTOS[0].pixels[:, :24, :24]
    turns = [torch.rot90(x, k, (1, 2)) for x in (photo, photo.flip(2)) for k in range(4)]
    assert len({turn.numpy().tobytes() for turn in turns}) == len(crops) == 8


def test_gathering_on_a_device_equals_copying_on_the_cpu() -> None:
    planes = Planes.of([photo.pixels for photo in PHOTOS], "cpu")
    draws = np.random.default_rng(0)
    start, steps = draws.integers(60, 3000, 8), [(61, 1), (-1, 61), (1, -61), (-61, -1)] * 2
    outer, inner = np.array(steps).T
    lines = (start + 40 * 61, outer, inner, 16)
    assert torch.equal(planes._copy(*lines), planes._gather(*lines))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_are_the_same_on_a_gpu() -> None:
    here, there = _pairs().batch(4), _pairs(device="cuda").batch(4)
    assert torch.equal(here.lr, there.lr.cpu())
    assert torch.equal(here.hr, there.hr.cpu())


def test_photo_smaller_than_the_patch_is_named() -> None:
    with pytest.raises(DataError, match=r"photo a of 61×50 is smaller than data\.patch 64"):
        _pairs(patch=64)


def test_photo_exactly_as_large_as_the_patch_is_used_whole() -> None:
    photo = _photo("one", 25, 25)
    hr = Pairs([photo], scale=2, patch=24, batch=1, augment=False).batch(0).hr
    assert torch.equal((hr[0] * 255).round().to(torch.uint8), photo.pixels[:, :24, :24])


def test_training_on_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.train"):
        Pairs([], scale=2, patch=24, batch=1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_validation_keeps_whole_images_that_divide(scale: int) -> None:
    for photo, whole in zip(PHOTOS, validation(PHOTOS, scale), strict=True):
        height, width = photo.pixels.shape[1:]
        assert whole.name == photo.name
        assert whole.hr.shape == (3, height // scale * scale, width // scale * scale)
        assert whole.hr.dtype == torch.uint8
        assert torch.equal((whole.lr * 255).round().to(torch.uint8), bicubic(whole.hr, scale))


def test_validation_photo_below_one_step_is_named() -> None:
    with pytest.raises(DataError, match="photo dot of 3×2 is too small"):
        validation([_photo("dot", 2, 3)], 4)


def test_labels_are_the_classes_of_the_crops_photos() -> None:
    dark, light = (
        Photo(str(v), torch.full((3, 40, 40), v, dtype=torch.uint8), Path(str(v))) for v in (0, 255)
    )
    batch = Pairs([dark, light], scale=2, patch=24, batch=32, labels=[1, 0]).batch(0)
    assert batch.labels is not None
    assert batch.labels.tolist() == [1 - int(crop.mean()) for crop in batch.hr]
    assert set(batch.labels.tolist()) == {0, 1}


def test_faces_are_looked_for_where_the_hr_crops_were_cut() -> None:
    cuts: list[Any] = []
    found = Windows.whole(8, 24, 24)

    def windows(*cut: Any) -> Windows:
        cuts.append(cut)
        return found

    plain = _pairs()
    seeing = plain.with_windows(windows)
    batch = seeing.batch(3)
    assert batch.windows is found
    assert plain.batch(3).windows is None
    photo, row, column, turn, side = cuts[0]
    again = Planes.of([one.pixels for one in _even()], "cpu").cut(photo, row, column, turn, side)
    assert torch.equal(again, batch.hr)


def _even() -> list[Photo]:
    """The photographs cut to multiples of the scale, as `Pairs` keeps them."""
    return [
        Photo(
            p.name, p.pixels[:, : p.pixels.shape[1] // 2 * 2, : p.pixels.shape[2] // 2 * 2], p.path
        )
        for p in PHOTOS
    ]
