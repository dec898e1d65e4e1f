"""Image losses give what other libraries gave, convention by convention (numbers in vectors/losses/extra)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import losses
from losses.wavelet import Wavelet

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"
CASES: list[dict[str, Any]] = json.loads((VECTORS / "extra" / "images.json").read_text())["cases"]
BANDS = ("LL", "LH", "HL", "HH")
CROPPED = {"sr", "hr", "averaged"}


def stored(file: str, key: str) -> Tensor:
    with np.load(VECTORS / f"{file}.npz") as arrays:
        return torch.from_numpy(arrays[key].astype(np.float64))


@pytest.mark.parametrize("known", CASES, ids=lambda known: known["id"])
def test_value_and_gradient_equal_the_peers(known: dict[str, Any]) -> None:
    given = {name: stored(*place.split(".")) for name, place in known["inputs"].items()}
    if known["crop"]:
        height, width = known["crop"]
        given |= {k: x[..., :height, :width] for k, x in given.items() if k in CROPPED}
    sr = given.pop("sr").requires_grad_()
    hr = given.pop("hr", sr.detach())
    value = losses.build(known["loss"], **known["parameters"])(sr, hr, **given)
    (gradient,) = torch.autograd.grad(value, sr)
    rtol = known["rtol"]
    assert float(value.detach()) == pytest.approx(known["value"], rel=rtol, abs=known["atol"])
    assert float(gradient.norm()) == pytest.approx(known["gradient_norm"], rel=rtol)
    wanted = stored("extra/images", f"{known['id']}.gradient")
    torch.testing.assert_close(
        gradient.flatten()[:: known["gradient_step"]],
        wanted,
        rtol=rtol,
        atol=rtol * float(wanted.abs().max()),
    )


def bands_of(image: Tensor, levels: int, **parameters: Any) -> dict[str, Tensor]:
    """Return the bands of one plane by name, as the loss takes them apart."""
    loss = losses.build("wavelet", channels="rgb", **parameters)
    assert isinstance(loss, Wavelet)
    low = image[None, None]
    found: dict[str, Tensor] = {}
    for level in range(1, levels + 1):
        bands = loss.bands(low, level)
        low = bands["LL"]
        found |= {f"{name}{level if level > 1 else ''}": x[0, 0] for name, x in bands.items()}
    return found


@pytest.mark.parametrize("family", ["haar", "db2", "db4", "sym7", "sym19"])
def test_wavelet_bands_equal_pywavelets(family: str) -> None:
    image = stored("images", "sr")[0, 0, :32, :28]
    decimated = bands_of(image, 1, family=family, transform="decimated")
    stationary = bands_of(image, 2, family=family, transform="stationary")
    assert len(stationary) == 8
    for name, band in decimated.items():
        torch.testing.assert_close(band, stored("extra/images", f"pywt.decimated.{family}.{name}"))
    for name, band in stationary.items():
        wanted = stored("extra/images", f"pywt.stationary.{family}.{name}")
        torch.testing.assert_close(band[::5, ::5], wanted)


def test_odd_sides_are_halved_as_pywavelets_does() -> None:
    image = stored("images", "sr")[0, 0, :31, :27]
    for name, band in bands_of(image, 1, family="db2", transform="decimated").items():
        torch.testing.assert_close(band, stored("extra/images", f"pywt.odd.db2.{name}"))
