"""The real files do what they are famous for; skipped, with the reason, where they cannot be fetched."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import losses
from losses._faces import Faces, Windows
from losses._landmarks import Landmarks68
from losses.texture import gram
from workers import weights
from workers.faces import detector
from workers.weights import WeightsUnavailable

VECTORS = Path(__file__).parents[1] / "vectors" / "losses" / "extra"

# ImageNet's classes, counted from 0.
CATS = {281: "tabby", 282: "tiger cat", 285: "Egyptian cat"}
ESPRESSO = 967


#: Where dlib's 68-point predictor (20.0.1, its own detector) sees the astronaut's eye centres and nose tip.
DLIB = torch.tensor([[203.2, 101.5], [246.5, 104.2], [225.0, 127.0]])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def here(*names: str) -> None:
    """Fetch weights, or skip the test with the reason why they cannot be had."""
    try:
        for name in names:
            weights.path(name)
    except WeightsUnavailable as error:
        pytest.skip(str(error))


def photo(name: str) -> Tensor:
    """Return one of scikit-image's photographs as (1, 3, H, W) in [0, 1]."""
    found = importlib.util.find_spec("skimage")
    assert found is not None
    assert found.origin is not None
    with Image.open(Path(found.origin).parent / "data" / name) as image:
        pixels = np.asarray(image.convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


def centre(image: Tensor, size: int) -> Tensor:
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    square = image[..., top : top + side, left : left + side]
    return F.interpolate(square, size=(size, size), mode="bilinear", antialias=True)


def test_squeezenet_calls_a_cat_a_cat_and_coffee_espresso() -> None:
    here("squeezenet1_1")
    net = weights.feature_network("squeezenet1_1")
    with torch.no_grad():
        images = torch.cat([centre(photo(name), 227) for name in ("chelsea.png", "coffee.png")])
        classes = net.extract(images, ["relu10"])["relu10"].mean(dim=(2, 3)).softmax(dim=1)
    assert int(classes[0].argmax()) in CATS
    assert set(classes[0].topk(3).indices.tolist()) == set(CATS)
    assert float(classes[0, list(CATS)].sum()) > 0.8
    assert int(classes[1].argmax()) == ESPRESSO


def test_vgg16_is_imagenets_vgg16_up_to_the_documented_drift() -> None:
    here("vgg16")
    state = weights.load("vgg16")
    published = {
        ("features.0.bias", (0,)): (0.73429835, 4e-4),
        ("features.5.bias", (1,)): (0.0644078, 2e-5),
        # Keras writes (height, width, inputs, outputs): kernel[1, 0, 63, 269] of block5_conv1.
        ("features.24.weight", (269, 63, 1, 0)): (-0.0112364, 2e-6),
        ("features.26.bias", (510,)): (0.235172, 4e-5),
    }
    for (key, place), (value, drift) in published.items():
        assert float(state[key][place]) == pytest.approx(value, abs=drift), key
    assert sum(tensor.numel() for tensor in state.values()) == 14_714_688


def test_vgg16_textures_tell_which_photo_a_half_came_from_where_colours_cannot() -> None:
    here("vgg16")
    names = ["astronaut", "chelsea", "coffee", "brick", "grass", "gravel", "coins", "text"]
    squares = torch.cat([centre(photo(f"{name}.png"), 128) for name in names])
    left, right = squares[..., :64], squares[..., 64:]
    pretrained = weights.feature_network("vgg16")
    assert (
        matches(pretrained.extract(left, ["relu2_2"]), pretrained.extract(right, ["relu2_2"])) >= 7
    )
    assert matches({"relu2_2": left}, {"relu2_2": right}) < 7


def matches(left: dict[str, Tensor], right: dict[str, Tensor]) -> int:
    """Return how many left halves have their own right half as the nearest, by Gram matrix."""
    a, b = (gram(half["relu2_2"], "chw").flatten(1) for half in (left, right))
    nearest = torch.cdist(F.normalize(a), F.normalize(b)).argmin(dim=1)
    return int((nearest == torch.arange(len(nearest))).sum())


def test_content_through_vgg16_grows_with_blur_more_than_with_contrast() -> None:
    here("vgg16")
    hr = centre(photo("chelsea.png"), 128)
    net = weights.feature_network("vgg16")
    content = losses.build("content")

    def distance(sr: Tensor) -> float:
        return float(content(sr, hr, features=net.compare(sr, hr, ["relu2_2"])))

    def blurred(factor: int) -> Tensor:
        small = F.interpolate(hr, scale_factor=1 / factor, mode="bicubic", antialias=True)
        return F.interpolate(small, size=hr.shape[-2:], mode="bicubic").clamp(0, 1)

    contrast = (hr - hr.mean()) * 1.1 + hr.mean()
    assert distance(contrast) < distance(blurred(2)) < distance(blurred(4)) < distance(blurred(8))


def test_the_astronauts_landmarks_are_face_apis_own_and_lie_on_her_face() -> None:
    here("face_landmark_68", "face_detector")
    network = weights.face_network("landmarks68")
    assert isinstance(network, Landmarks68)
    astronaut = photo("astronaut.png")

    # The same network on face-api's own runtime.
    known = json.loads((VECTORS / "face_api.json").read_text())["landmarks"]
    points = network.landmarks(astronaut[:, :, 70:182, 166:278])
    torch.testing.assert_close(points.flatten(), torch.tensor(known), rtol=0, atol=1e-5)

    boxes = detector().detect((astronaut[0] * 255).to(torch.uint8)).boxes
    windows = Windows.of_boxes(boxes, torch.zeros(len(boxes), dtype=torch.int64), 1)
    (square,) = network.framing.square(windows.frames)
    (points,) = 2 * network.landmarks(network.cut(astronaut, windows)) - 1
    places = points @ square[:, :2].T + square[:, 2]
    eyes_and_nose = torch.stack([places[36:42].mean(dim=0), places[42:48].mean(dim=0), places[30]])
    assert float((eyes_and_nose - DLIB).norm(dim=1).max()) < 3


def test_the_landmark_prior_grows_with_the_factor_a_face_was_shrunk_by() -> None:
    here("face_landmark_68")
    network = weights.face_network("landmarks68")
    hr = photo("astronaut.png")[:, :, 60:200, 152:292]
    loss = losses.build("landmark_prior", faces="whole")

    def value(factor: int) -> float:
        small = F.interpolate(hr, scale_factor=1 / factor, mode="bicubic", antialias=True)
        sr = F.interpolate(small, size=hr.shape[-2:], mode="bicubic").clamp(0, 1)
        faces: Faces = network.compare(sr, hr, Windows.whole(1, 140, 140))
        return float(loss(sr, hr, faces=faces))

    assert value(1) == pytest.approx(0, abs=1e-3)
    assert value(2) < value(4) < value(7)


def test_lpips_and_dists_heads_fit_the_layers_they_are_for() -> None:
    here("lpips_vgg16", "lpips_squeezenet1_1", "dists")
    vgg16 = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}
    found = {layer: len(head) for layer, head in weights.heads("lpips_vgg16").items()}
    assert found == vgg16
    squeeze = weights.heads("lpips_squeezenet1_1")
    assert {layer: len(head) for layer, head in squeeze.items()} == {
        "relu1": 64,
        "fire3": 128,
        "fire5": 256,
        "fire6": 384,
        "fire7": 384,
        "fire8": 512,
        "fire9": 512,
    }
    assert all(float(head.min()) >= 0 for head in squeeze.values())
    dists = weights.heads("dists")
    assert {key: len(head) for key, head in dists.items()} == {
        f"{kind}.{layer}": channels
        for kind in ("alpha", "beta")
        for layer, channels in ({"image": 3} | vgg16).items()
    }
