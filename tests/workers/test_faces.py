"""Faces are where face-api says, and stay there however a crop is turned."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from losses._faces import FaceNetwork, Framing
from workers.data.planes import Planes
from workers.faces import Boxes, FaceDetector, detector, windows
from workers.faces.detector import distinct
from workers.weights import WeightsUnavailable

if TYPE_CHECKING:
    from torch import Tensor

    from workers.data.planes import Ints

SKIMAGE = importlib.util.find_spec("skimage")
VECTORS = Path(__file__).parents[1] / "vectors" / "losses" / "extra"


class Plain(FaceNetwork):
    """A face network that is only asked to cut."""

    side = 8
    framing = Framing()


def photo(name: str) -> Tensor:
    """Return one of scikit-image's photographs, uint8 (3, H, W)."""
    assert SKIMAGE is not None
    assert SKIMAGE.origin is not None
    with Image.open(Path(SKIMAGE.origin).parent / "data" / name) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


@pytest.fixture
def astronaut() -> Tensor:
    return photo("astronaut.png")


@pytest.fixture(scope="module")
def network() -> FaceDetector:
    try:
        return detector()
    except WeightsUnavailable as error:
        pytest.skip(str(error))


def faces(*boxes: tuple[float, float, float, float]) -> Boxes:
    return Boxes(torch.tensor(boxes).view(-1, 4), torch.ones(len(boxes)))


def crops(*values: tuple[int, int, int, int]) -> tuple[Ints, Ints, Ints, Ints]:
    photos, rows, columns, turns = np.array(values, dtype=np.int64).T
    return photos, rows, columns, turns


@settings(max_examples=40)
@given(
    st.integers(0, 7), st.integers(0, 8), st.integers(0, 8), st.integers(0, 4), st.integers(0, 4)
)
def test_a_face_is_cut_upright_out_of_every_turn_of_a_crop(
    way: int, left: int, top: int, row: int, column: int
) -> None:
    pixels = torch.randint(0, 256, (3, 20, 24), generator=torch.Generator().manual_seed(1))
    pixels = pixels.to(torch.uint8)
    found = [faces((column + left, row + top, column + left + 8, row + top + 8))]
    place = crops((0, row, column, way))
    batch = Planes.of([pixels], "cpu").cut(*place, 16)
    seen = Plain().cut(batch, windows(found, *place, 16))
    expected = pixels[:, row + top : row + top + 8, column + left : column + left + 8] / 255
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5)


def test_only_faces_wholly_inside_a_crop_count() -> None:
    found = [faces((2, 2, 8, 9)), faces((1, 1, 5, 5), (6, 6, 12, 12))]
    place = crops((0, 0, 0, 0), (0, 3, 0, 1), (1, 0, 0, 5), (1, 2, 2, 0), (1, 0, 0, 0))
    given_windows = windows(found, *place, 10)
    # A crop from row 3 cuts the first photo's face; each of the second photo's loses one of two.
    assert given_windows.sample.tolist() == [0, 2, 3, 4]
    assert (given_windows.count, given_windows.found) == (5, 4)


def test_crops_without_faces_have_no_windows() -> None:
    none = windows([faces()], *crops((0, 0, 0, 0)), 10)
    assert (len(none.frames), none.count, none.found, none.longest) == (0, 1, 0, 0.0)


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 4]])
    kept = distinct(boxes, torch.tensor([0.7, 0.9, 0.6, 0.8]))
    # The last shares 27 of 113 pixels with the surest: too little to be the same face.
    assert kept.boxes.tolist() == boxes[[1, 3, 2]].tolist()
    assert kept.scores.tolist() == pytest.approx([0.9, 0.8, 0.6])


def test_boxes_and_scores_are_those_face_api_itself_gives(
    astronaut: Tensor, network: FaceDetector
) -> None:
    score, left, top, width, height = json.loads((VECTORS / "face_api.json").read_text())["faces"][
        0
    ]
    found = network.detect(astronaut[:, :416, 48:464])
    expected = torch.tensor([[left, top, left + width, top + height]])
    torch.testing.assert_close(found.boxes, expected, rtol=0, atol=0.01)
    assert found.scores.tolist() == pytest.approx([score], abs=1e-4)


def test_a_photo_enlarged_with_its_face_gives_the_same_face(
    astronaut: Tensor, network: FaceDetector
) -> None:
    large = astronaut.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    (small,), (same,) = network.detect(astronaut).boxes, network.detect(large).boxes
    torch.testing.assert_close(same / 2, small, rtol=0, atol=8)


def test_a_small_face_in_a_large_photo_is_found_at_a_finer_scale(
    astronaut: Tensor, network: FaceDetector
) -> None:
    canvas = torch.full((3, 900, 1400), 110, dtype=torch.uint8)
    half = torch.nn.functional.interpolate(
        astronaut[None, :, :256].float(), scale_factor=0.5, mode="bilinear", antialias=True
    )
    canvas[:, 700:828, 1000:1256] = half[0].round().to(torch.uint8)
    assert len(network.detect(canvas, finest=416).boxes) == 0
    (box,) = network.detect(canvas).boxes
    assert 1080 < float(box[::2].mean()) < 1140
    assert 740 < float(box[1::2].mean()) < 790


def test_a_photo_without_a_face_has_no_boxes(network: FaceDetector) -> None:
    for name in ("chelsea.png", "coffee.png"):
        assert len(network.detect(photo(name)).boxes) == 0
