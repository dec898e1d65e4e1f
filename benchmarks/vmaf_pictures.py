"""Draws docs/pictures/vmaf: what VMAF's parts see in a bicubic ×4 photograph, and in a sharpened one.

    python -m benchmarks.vmaf_pictures docs/pictures/vmaf

vif.png and adm.png are the maps that VIF and ADM sum up, at their four scales; trap.png is where
sharpening is credited, curves.png what it does to scores, and how each part moves the score. figures.json
beside them has the numbers that docs/vmaf.md prints. Half a minute on a core.
"""

from __future__ import annotations

import io
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from benchmarks.vmaf_maps import NEG, PLAIN, Detail, Information, detail, dlm, information
from losses._vmaf import FEATURES, Model
from workers import metrics
from workers.data.degrade import bicubic, enlarge, mod_crop
from workers.data.sources import load
from workers.metrics._still import luma

SCALE = 4
#: Radius in pixels and strength in percent of the unsharp masks in the table; the last is drawn.
MASKS = ((2, 50), (2, 150), (8, 100), (16, 100))
SCORES = ("vmaf", "vmaf_neg", "psnr_y", "ssim_y")
#: Panels of the maps of four scales, and of three columns.
_PANEL, _WIDE = (168, 112), (252, 168)
_GAP, _TITLE, _NAME = 6, 20, 22
_LEVELS = 12
_COLOURS = 96


@cache
def scene() -> tuple[Tensor, Tensor]:
    """Return a cat and its bicubic ×4 version, uint8 (3, H, W)."""
    (photo,) = load(["package:skimage/data/chelsea.png"])
    hr = mod_crop(photo.pixels, SCALE)
    return hr, enlarge(bicubic(hr, SCALE), SCALE)


def sharpened(image: Tensor, radius: int, percent: int) -> Tensor:
    """Return the image with Pillow's unsharp mask, as any photo editor has it."""
    pixels = Image.fromarray(image.permute(1, 2, 0).numpy())
    mask = ImageFilter.UnsharpMask(radius, percent, threshold=0)
    return torch.from_numpy(np.array(pixels.filter(mask))).permute(2, 0, 1)


def scores(image: Tensor, *names: str) -> dict[str, float]:
    """Return the metrics of an image against the original."""
    hr, _ = scene()
    found = metrics.score(list(names or SCORES), [(image, hr)], scale=SCALE)
    return {name: round(values[0], 4) for name, values in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    hr, sr = scene()
    tried = {"bicubic ×4": sr} | {
        f"{percent} % of {radius} px": sharpened(sr, radius, percent) for radius, percent in MASKS
    }
    figures = {name: scores(image, *SCORES, *FEATURES) for name, image in tried.items()}
    y, x = _luma(hr), _luma(sr)
    bits, contrast = information(y, x, limit=NEG), detail(y, x, limit=NEG)
    _check(figures["bicubic ×4"], information(y, x, limit=PLAIN), detail(y, x, limit=PLAIN))
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    sheets = {
        "vif": _of_information(hr, sr, bits),
        "adm": _of_detail(hr, sr, contrast),
        "trap": _of_trap(hr, tried),
        "curves": _of_curves(sr, figures["bicubic ×4"]),
    }
    for name, sheet in sheets.items():
        few = sheet.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(folder / f"{name}.png", optimize=True)
        print(f"{name}.png {(folder / f'{name}.png').stat().st_size} bytes")


def _check(exact: dict[str, float], bits: list[Information], contrast: list[Detail]) -> None:
    """Raise AssertionError unless the maps add up to what the exact path says."""
    for scale, found in enumerate(bits):
        assert abs(found.score - exact[f"vif_scale{scale}"]) < 1e-3
    assert abs(dlm(contrast) - exact["adm2"]) < 1e-3


def _luma(image: Tensor) -> Tensor:
    return luma(image.double()).round()


def _of_information(hr: Tensor, sr: Tensor, scales: list[Information]) -> Image.Image:
    full = max(float(found.had.quantile(0.995)) for found in scales)
    had = [_coloured(found.had / full, "magma") for found in scales]
    kept = [_coloured(found.kept / full, "magma") for found in scales]
    titles = [f"scale {k}: keeps {found.score:.2f}" for k, found in enumerate(scales)]
    rows = {
        "bits in the original": [_photo(hr), *had],
        "bits that bicubic ×4 keeps": [_photo(sr), *kept],
    }
    return _sheet(rows, ["original, bicubic ×4", *titles])


def _of_detail(hr: Tensor, sr: Tensor, scales: list[Detail]) -> Image.Image:
    def drawn(which: str) -> list[Image.Image]:
        tops = [_size(found.original).quantile(0.995) for found in scales]
        maps = [_size(getattr(found, which)) for found in scales]
        # Contrast spans decades; its root shows the faint too.
        return [
            _coloured((z / top).clamp(0, 1).sqrt(), "magma")
            for z, top in zip(maps, tops, strict=True)
        ]

    inside = tuple(slice(length // 10, length - length // 10) for length in hr.shape[1:])
    hr, sr = hr[:, *inside], sr[:, *inside]
    difference = (128 + (sr.float() - hr.float())).clamp(0, 255).to(torch.uint8)
    norms = [found.norms for found in scales]
    titles = [f"scale {k}: {seen / had:.2f}" for k, (seen, had) in enumerate(norms)]
    rows = {
        "contrast of the original": [_photo(hr), *drawn("original")],
        "what bicubic ×4 restores and is seen": [_photo(sr), *drawn("seen")],
        "what is there instead, and masks": [_photo(difference), *drawn("added")],
    }
    return _sheet(rows, ["original, SR, SR - original", *titles])


def _of_trap(hr: Tensor, tried: dict[str, Tensor]) -> Image.Image:
    """Photos over what VIF credits at scale 2, plain and NEG, less what the original has."""
    last = list(tried)[-1]
    shown = {"bicubic ×4": tried["bicubic ×4"], "sharpened": tried[last]}
    titles = ["original"]
    for name, image in shown.items():
        found = scores(image, "vmaf", "vmaf_neg")
        titles.append(f"{name}: VMAF {found['vmaf']:.0f}, NEG {found['vmaf_neg']:.0f}")
    rows = {"": [_photo(image, _WIDE) for image in (hr, *shown.values())]}
    for name, limit in (("VMAF", PLAIN), ("NEG", NEG)):
        maps = [_legend(limit)]
        for image in shown.values():
            bits = information(_luma(hr), _luma(image), limit=limit)[2]
            maps.append(_coloured(0.5 + (bits.kept - bits.had) / 4, "RdBu_r", _WIDE))
        rows[f"information at scale 2 that {name} credits"] = maps
    return _sheet(rows, titles)


def _legend(limit: float) -> Image.Image:
    """Return what the colours mean, for the first row of maps."""
    panel = Image.new("RGB", _WIDE, "white")
    if limit == NEG:
        return panel
    pen, font = ImageDraw.Draw(panel), ImageFont.truetype(findfont("DejaVu Sans"), size=12)
    for top, colour, meaning in (
        (40, "#b2182b", "2 bits more than the original has"),
        (72, "#f7f7f7", "as many"),
        (104, "#2166ac", "2 bits less"),
    ):
        pen.rectangle((12, top, 32, top + 20), colour, "grey")
        pen.text((42, top + 10), meaning, "black", font, "lm")
    return panel


def _of_curves(sr: Tensor, features: dict[str, float]) -> Image.Image:
    figure = Figure(figsize=(9.6, 3.2), dpi=100, layout="constrained")
    small, large, parts = figure.subplots(1, 3)
    _sharpening(small, sr, 2)
    _sharpening(large, sr, 16)
    _parts(parts, features)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return Image.open(drawn).convert("RGB")


def _sharpening(axis: Axes, sr: Tensor, radius: int) -> None:
    """Draw VMAF, NEG and PSNR of bicubic ×4 under ever stronger unsharp masks."""
    strengths = list(range(0, 201, 20))
    found = [scores(sharpened(sr, radius, percent)) for percent in strengths]
    for name, label, colour in (("vmaf", "VMAF", "tab:red"), ("vmaf_neg", "NEG", "tab:blue")):
        axis.plot(strengths, [row[name] for row in found], color=colour, label=label)
    axis.plot([], [], "k:", label="PSNR-Y")
    axis.set(title=f"unsharp mask, radius {radius} px", xlabel="strength, %", ylim=(0, 102))
    axis.legend(fontsize=8, loc="lower left")
    right = axis.twinx()
    right.plot(strengths, [row["psnr_y"] for row in found], "k:")
    right.set(ylim=(15, 35), ylabel="dB")


def _parts(axis: Axes, features: dict[str, float]) -> None:
    """Draw the score as one part goes from 0 to 1 and the others stay what they are in bicubic ×4."""
    model = Model.named("vmaf_v0.6.1")
    at = torch.tensor([features[name] for name in FEATURES], dtype=torch.float64)
    values = torch.linspace(0, 1, 51, dtype=torch.float64)
    for position, name in enumerate(FEATURES):
        scale = 20 if name == "motion2" else 1
        many = at.repeat(len(values), 1)
        many[:, position] = values * scale
        (line,) = axis.plot(values, model.raw(many), label=name, linewidth=1.2)
        axis.plot(at[position] / scale, model.raw(at[None]), "o", color=line.get_color(), ms=4)
    axis.set(title="one part at a time", xlabel="the part (motion2: / 20)", ylim=(0, 118))
    axis.legend(fontsize=7, loc="upper left", ncols=2)


def _size(bands: Tensor) -> Tensor:
    """Contrast of all directions together."""
    return bands.square().sum(0).sqrt()


def _photo(image: Tensor, size: tuple[int, int] = _PANEL) -> Image.Image:
    pixels = Image.fromarray(image.permute(1, 2, 0).numpy())
    return pixels.resize(size, Image.Resampling.LANCZOS)


def _coloured(values: Tensor, palette: str, size: tuple[int, int] = _PANEL) -> Image.Image:
    """Return a map of 0..1 in few colours; pixels of the coarse scales stay squares."""
    steps = (values.clamp(0, 1) * _LEVELS).round() / _LEVELS
    colours = (colormaps[palette](steps.numpy())[..., :3] * 255).round().astype(np.uint8)
    coarse = values.shape[-1] < size[0]
    how = Image.Resampling.NEAREST if coarse else Image.Resampling.BOX
    return Image.fromarray(colours).resize(size, how)


def _sheet(rows: dict[str, list[Image.Image]], titles: list[str]) -> Image.Image:
    """Panels in rows, each with its name below, under the titles of the columns."""
    width, height = rows[next(iter(rows))][0].size
    right = len(titles) * (width + _GAP) - _GAP
    sheet = Image.new("RGB", (right, _TITLE + sum(height + _name(name) for name in rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(findfont("DejaVu Sans"), size=12)
    for column, title in enumerate(titles):
        pen.text((column * (width + _GAP) + width / 2, _TITLE / 2), title, "black", font, "mm")
    top = _TITLE
    for name, panels in rows.items():
        for column, panel in enumerate(panels):
            sheet.paste(panel, (column * (width + _GAP), top))
        pen.text((right / 2, top + height + _name(name) / 2), name, "black", font, "mm")
        top += height + _name(name)
    return sheet


def _name(name: str) -> int:
    """Return how much room a row's name takes below it."""
    return _NAME if name else _GAP


if __name__ == "__main__":
    main()
