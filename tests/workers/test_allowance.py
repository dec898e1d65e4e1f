"""What a study names is held against the worker's list before anything of it is opened."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from losses import FeatureSource
from service.contract.study import Data
from tests.workers import tiny_training as tiny
from workers.allowance import (
    EVERYTHING,
    Allowance,
    DataNotAllowed,
    NotAllowed,
    WeightsNotAllowed,
)
from workers.bench import Bench
from workers.data import DataError, load
from workers.suppliers import Networks
from workers.weights import WeightsUnavailable
from workers.weights.catalogue import CATALOGUE, UrlFile
from workers.weights.user_file import read_state


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    picture(tmp_path / "open" / "a.png")
    return tmp_path / "open"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return picture(tmp_path / "private" / "secret.png")


@pytest.fixture
def allowed(open_folder: Path) -> Allowance:
    return Allowance.only(data=[open_folder], packages=["skimage"], weights=[open_folder])


def test_folders_below_an_open_one_are_read(open_folder: Path, allowed: Allowance) -> None:
    picture(open_folder / "deep" / "er" / "b.png")
    assert [p.name for p in load([str(open_folder)], allowed=allowed)] == ["a.png", "deep/er/b.png"]
    assert len(load([str(open_folder / "deep")], allowed=allowed)) == 1


def test_nothing_else_is(open_folder: Path, secret: Path, allowed: Allowance) -> None:
    for source in (
        str(secret),
        str(secret.parent),
        f"{open_folder}/../private",
        f"{open_folder}/../private/secret.png",
        f"{open_folder}-other",
        "/",
        "~",
        "~root/x",
        ".",
        "",
        "/proc/self/root" + str(secret),
    ):
        with pytest.raises(DataNotAllowed, match="--allow-data"):
            load([source], allowed=allowed)


@pytest.mark.parametrize("linked", ["secret.png", "folder"])
def test_links_lead_nowhere_else(
    open_folder: Path, secret: Path, allowed: Allowance, linked: str
) -> None:
    target = secret if linked == "secret.png" else secret.parent
    (open_folder / linked).symlink_to(target)
    with pytest.raises(DataNotAllowed):
        load([str(open_folder / linked)], allowed=allowed)
    if linked == "secret.png":
        with pytest.raises(DataNotAllowed):
            load([str(open_folder)], allowed=allowed)


def test_an_open_folder_may_itself_be_a_link(open_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(open_folder)
    allowed = Allowance.only(data=[tmp_path / "link"])
    assert len(load([str(tmp_path / "link")], allowed=allowed)) == 1
    assert len(load([str(open_folder)], allowed=allowed)) == 1


def test_links_in_a_circle_are_a_sentence(open_folder: Path, allowed: Allowance) -> None:
    (open_folder / "loop").symlink_to(open_folder / "loop")
    with pytest.raises((NotAllowed, DataError)):
        load([str(open_folder / "loop" / "x")], allowed=allowed)


@pytest.mark.parametrize(
    "source", ["http://host/x.png", "s3://bucket", "file:///etc/x.png", "rtmp://h/x", "a\0b"]
)
def test_addresses_are_no_paths_wherever(source: str, allowed: Allowance) -> None:
    for allowance in (allowed, EVERYTHING):
        with pytest.raises(DataNotAllowed, match="is no path"):
            load([source], allowed=allowance)


def test_only_named_packages_are_read(allowed: Allowance) -> None:
    assert load(["package:skimage/data/coffee.png"], allowed=allowed)
    for source in ("package:matplotlib/mpl-data", "package:", "package:/etc", "package:torch"):
        with pytest.raises(DataNotAllowed, match="--allow-package"):
            load([source], allowed=allowed)


@pytest.mark.parametrize("inside", ["/etc/x.png", "../x.png", "data/../../x.png", "a/../../../etc"])
def test_a_package_is_not_a_way_out_of_it(inside: str, allowed: Allowance) -> None:
    for allowance in (allowed, EVERYTHING):
        with pytest.raises(DataNotAllowed, match="leads out"):
            load([f"package:skimage/{inside}"], allowed=allowance)


def test_no_package_is_imported_by_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("trap", "trap/inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    picture(tmp_path / "trap" / "a.png")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load(["package:trap"])) == 1
    for source in ("package:trap.inner", "package:trap:main/a.png", "package:__main__/a.png"):
        with pytest.raises(DataError):
            load([source])
    assert not (tmp_path / "ran").exists()
    assert "trap" not in sys.modules


def test_all_sources_are_checked_before_the_first_is_opened(
    tmp_path: Path, open_folder: Path, secret: Path, allowed: Allowance
) -> None:
    (open_folder / "a.png").write_bytes(b"opening this is an error of another kind")
    bench = Bench(tiny.nothing_to_fetch, torch.device("cpu"), tmp_path, allowed=allowed)
    folder, private = str(open_folder), str(secret)
    for data in (
        Data(train=[folder], validation=[private]),
        Data(train=[folder], validation=[folder], classes={"a": [folder], "b": [private]}),
    ):
        with pytest.raises(DataNotAllowed):
            bench.check(data)


def test_weights_are_of_the_catalogue_or_from_an_open_folder(
    open_folder: Path, secret: Path, allowed: Allowance
) -> None:
    allowed.weight("")
    allowed.weight("vgg16")
    allowed.weight(str(open_folder / "mine.pth"))
    for name in (str(secret), f"{open_folder}/../x.pth", "x.pth", "~/x.pth"):
        with pytest.raises(WeightsNotAllowed, match="--allow-weights"):
            allowed.weight(name)


@pytest.mark.parametrize("address", ["https://host/x.pth", "http://h/x", "file:///etc/x", "s3://b"])
def test_no_address_is_fetched_because_a_study_says_so(address: str, allowed: Allowance) -> None:
    for allowance in (allowed, EVERYTHING):
        with pytest.raises(WeightsNotAllowed, match="are an address"):
            allowance.weight(address)


def test_the_catalogues_addresses_are_https_and_pinned() -> None:
    sources = [weights.source for weights in CATALOGUE.values()]
    assert all(len(source.sha256) >= 8 for source in sources)
    addresses = [source.url for source in sources if isinstance(source, UrlFile)]
    assert addresses
    assert all(url.startswith("https://download.pytorch.org/") for url in addresses)


def test_networks_load_nothing_that_is_not_allowed(secret: Path, allowed: Allowance) -> None:
    networks = Networks(tiny.Narrow(), "cpu", allowed=allowed)
    with pytest.raises(WeightsNotAllowed):
        networks.features(FeatureSource("vgg16", str(secret)))
    with pytest.raises(WeightsNotAllowed):
        networks.heads(str(secret))


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for content in ({"a": Trap()}, Trap(), {"state_dict": {"a": torch.zeros(1), "b": Trap()}}):
        torch.save(content, tmp_path / "trap.pth")
        with pytest.raises(WeightsUnavailable, match="no plain state dict"):
            read_state(str(tmp_path / "trap.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_are_a_file_and_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", Path("/dev/zero"), tmp_path):
        with pytest.raises(WeightsUnavailable, match="no file"):
            read_state(str(path))


def test_a_play_list_named_like_a_clip_opens_nothing(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "private.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(5))
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert len(load([str(tmp_path / "private.mkv")])) == 3
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    (open_folder / "a.mp4").write_text("ffconcat version 1.0\nfile ../private.mkv\n")
    (tmp_path / "b.mp4").write_text("ffconcat version 1.0\nfile private.mkv\n")
    (tmp_path / "c.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{tmp_path}/private.mkv\n#EXT-X-ENDLIST\n"
    )
    for path in (open_folder / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4"):
        with pytest.raises(DataError, match="cannot be decoded"):
            load([str(path)])
