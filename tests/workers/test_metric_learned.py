"""LPIPS, DISTS and ST-LPIPS are their losses with their own weights, and say so when those are missing.

Narrow networks stand in for the published ones on a shelf of the test's own, under their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import losses
from losses.lpips import LAYERS
from workers import metrics, weights
from workers.metrics import _learned, dists, lpips, st_lpips
from workers.metrics._learned import MissingWeights
from workers.metrics._still import Still
from workers.weights import CATALOGUE, WeightsUnavailable
from workers.weights.convert import convert

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"
LEARNED = ["lpips", "dists", "st_lpips"]
#: Channels of each convolution of VGG16, a sixteenth of the real ones.
WIDTHS = {
    0: 4,
    2: 4,
    5: 8,
    7: 8,
    10: 16,
    12: 16,
    14: 16,
    17: 32,
    19: 32,
    21: 32,
    24: 32,
    26: 32,
    28: 32,
}
STAGES = dict(zip(LAYERS["vgg16"], (4, 8, 16, 32, 32), strict=True))


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty shelf of weights, where nothing can be fetched either."""
    monkeypatch.setenv("SRTUNE_CACHE", str(tmp_path))
    for setting, value in (
        ("PIP_NO_INDEX", "1"),
        ("http_proxy", "http://127.0.0.1:9"),
        ("https_proxy", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(setting, value)
    modules = (lpips, dists, st_lpips)
    for module in modules:
        module.judge.cache_clear()
    yield tmp_path / "weights"
    for module in modules:
        module.judge.cache_clear()


def put(shelf: Path, name: str, state: dict[str, Tensor]) -> None:
    shelf.mkdir(exist_ok=True)
    save_file(state, shelf / f"{name}-{CATALOGUE[name].source.sha256[:8]}.safetensors")


def narrow_vgg() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    channels = 3
    for index, width in WIDTHS.items():
        weight = torch.randn(width, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        state |= {f"features.{index}.weight": weight, f"features.{index}.bias": torch.zeros(width)}
        channels = width
    return state


def narrow_heads(prefix: str = "") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(prefix))
    return {
        f"{prefix}{layer}": torch.rand(width, generator=generator)
        for layer, width in STAGES.items()
    }


def fill(shelf: Path) -> None:
    put(shelf, "vgg16_torchvision", narrow_vgg())
    put(shelf, "lpips_vgg16", narrow_heads())
    image = {f"{kind}.image": torch.rand(3) for kind in ("alpha", "beta")}
    put(shelf, "dists", image | narrow_heads("alpha.") | narrow_heads("beta."))
    put(shelf, "st_lpips_vgg16", narrow_vgg() | narrow_heads("heads."))


def pair(seed: int = 0, height: int = 50, width: int = 44) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hr = torch.randint(0, 256, (3, height, width), generator=generator)
    sr = (hr + torch.randint(-30, 31, hr.shape, generator=generator)).clamp(0, 255)
    return sr.to(torch.uint8), hr.to(torch.uint8)


def one(name: str, sr: Tensor, hr: Tensor, scale: int = 2) -> float:
    return metrics.score([name], [(sr, hr)], scale=scale)[name][0]


@pytest.mark.parametrize(
    ("name", "heads", "pooling"), [("lpips", "lpips_vgg16", "max"), ("dists", "dists", "l2")]
)
def test_metric_is_its_loss_with_the_published_weights(
    shelf: Path, name: str, heads: str, pooling: str
) -> None:
    fill(shelf)
    loss: Any = losses.build(name, heads=heads, weights="vgg16_torchvision", pooling=pooling)
    sr, hr = (image[None, :, 2:-2, 2:-2] / 255 for image in pair())
    features = weights.feature_network(loss.source).compare(sr, hr, loss.layers)
    expected = loss(sr, hr, features=features, heads=weights.heads(heads)).item()
    assert expected > 1e-3
    assert one(name, *pair()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_other_networks_do_not_stand_in_for_torchvisions(shelf: Path, name: str) -> None:
    """The packaged VGG16 is another network: the heads were not fitted to it."""
    fill(shelf)
    (
        shelf / f"vgg16_torchvision-{CATALOGUE['vgg16_torchvision'].source.sha256[:8]}.safetensors"
    ).unlink()
    put(shelf, "vgg16", narrow_vgg())
    with pytest.raises(MissingWeights, match=f"{name} cannot be computed"):
        one(name, *pair())


@pytest.mark.parametrize("name", LEARNED)
def test_missing_weights_are_told_before_training_and_at_scoring(name: str) -> None:
    for ask in (lambda: metrics.prepare(["psnr_y", name]), lambda: one(name, *pair())):
        with pytest.raises(metrics.MetricUnavailable, match=f"{name} cannot be computed") as told:
            ask()
        assert isinstance(told.value, WeightsUnavailable)
        assert ("Or score st_lpips" in str(told.value)) == (name != "st_lpips")


@pytest.mark.parametrize("name", LEARNED)
def test_equal_images_score_0_and_swapped_ones_the_same(shelf: Path, name: str) -> None:
    fill(shelf)
    metrics.prepare([name])
    sr, hr = pair()
    assert one(name, hr, hr) == pytest.approx(0, abs=1e-7)
    assert one(name, sr, hr) == pytest.approx(one(name, hr, sr), rel=1e-5)
    assert one(name, sr, hr) > one(name, ((sr.int() + hr) // 2).to(torch.uint8), hr) > 0


@pytest.mark.parametrize("name", LEARNED)
def test_several_images_score_as_alone_and_without_their_border(shelf: Path, name: str) -> None:
    fill(shelf)
    pairs = [pair(1), pair(2, 40, 61)]
    together = metrics.score([name], pairs, scale=2)[name]
    assert together == [one(name, *each) for each in pairs]
    spoilt = pairs[0][0].clone()
    spoilt[:, :2] = 0
    assert one(name, spoilt, pairs[0][1]) == together[0]


@pytest.mark.parametrize("name", ["lpips", "st_lpips"])
def test_image_too_small_for_the_network_is_one_sentence(shelf: Path, name: str) -> None:
    fill(shelf)
    with pytest.raises(metrics.ImageUnusable, match=f"{name} of 13×40 inside the border"):
        one(name, *pair(0, 44, 17))


def test_st_lpips_of_narrow_weights_is_that_of_its_authors(tmp_path: Path) -> None:
    """Odd sizes, the published file's names, and every convolution, blur and head in its place."""
    with np.load(VECTORS / "st_lpips_narrow.npz") as stored:
        arrays = {key: torch.from_numpy(stored[key]) for key in stored.files}
    sr, hr, expected = (arrays.pop(key) for key in ("sr", "hr", "value"))
    torch.save(arrays, tmp_path / "published.pth")
    judge = st_lpips.st_lpips_of(convert(tmp_path / "published.pth", "st_lpips"))
    ours = [judge.distance(Still.of(*each, scale=0)) for each in zip(sr, hr, strict=True)]
    assert ours == pytest.approx(expected.tolist(), rel=1e-5)


def test_file_that_is_not_st_lpips_is_one_sentence(tmp_path: Path) -> None:
    torch.save({"net.slice1.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsUnavailable, match=r"other\.pth is not a st_lpips file"):
        convert(tmp_path / "other.pth", "st_lpips")


def test_networks_of_the_metrics_are_torchvisions() -> None:
    assert CATALOGUE[_learned.VGG16].network == "vgg16"
    assert CATALOGUE[_learned.VGG16].lineage.endswith("(IMAGENET1K_V1)")
