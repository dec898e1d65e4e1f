"""Draws docs/pictures/losses: what each loss asks of a bicubic ×4 photograph.

    python -m benchmarks.loss_pictures docs/pictures/losses [NAME ...]

One picture per loss: HR, SR, and −∂L/∂SR summed over the channels, the direction a small step of
gradient descent would take each pixel in: red brighter, blue darker, full colour at the 99th percentile
of its size. figures.json beside them has the numbers that docs/losses.md prints. Fetches VGG16,
SqueezeNet and the landmark network if they are not there yet; two minutes on a core.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import losses
from benchmarks.gradient_scene import SIDE, Scene

#: Side of the part that is drawn, and how much larger than it is.
_PART, _ZOOM = 112, 2
_WINDOW = slice((SIDE - _PART) // 2, (SIDE + _PART) // 2)
_GAP, _FOOT = 8, 22
_LEVELS = 48
_COLOURS = 176


class View(NamedTuple):
    """Settings of a loss worth looking at, and what to call them."""

    title: str
    parameters: dict[str, Any]


#: What is drawn of each loss: its defaults, and settings that change what it asks for.
VIEWS: dict[str, tuple[View, ...]] = {
    "l1": (View("l1", {}),),
    "l2": (View("l2", {}),),
    "charbonnier": (
        View("ε = 0.001", {}),
        View("kornia's: shifted, ε = 1", {"form": "shifted", "eps": 1.0}),
    ),
    "huber": (View("δ = 0.03", {}), View("δ = 1", {"delta": 1.0})),
    "content": (
        View("VGG16 relu2_2", {}),
        View("VGG16 conv5_3", {"layers": ["conv5_3"]}),
    ),
    "texture": (
        View("relu2_2, whole map", {}),
        View("relu2_2, patches of 8", {"patch": 8}),
    ),
    "adversarial": (
        View("vanilla, patch D", {}),
        View("relativistic, patch D", {"kind": "relativistic"}),
    ),
    "cycle": (View("trained CNN", {"scale": 4}),),
    "lr_consistency": (
        View("bicubic, antialiased", {}),
        View("without antialiasing", {"antialias": False}),
    ),
    "tv": (View("isotropic", {}), View("squared", {"form": "squared"})),
    "vmaf_neg": (View("VMAF-NEG, BT.601 luma", {}),),
    "landmark_prior": (View("landmarks68, σ = 1", {}),),
    "edge": (View("l1", {}), View("l2", {"criterion": "l2"})),
    "gradient_variance": (View("patch 8", {}), View("patch 16, l1", {"patch": 16, "criterion": "l1"})),
    "ssim": (View("11 px, σ = 1.5", {}), View("5 px, σ = 0.75", {"window": 5, "sigma": 0.75})),
    "ms_ssim": (View("5 scales", {}), View("2 scales", {"scales": 2})),
    "ms_ssim_l1": (View("α = 0.025", {}), View("α = 0.84", {"alpha": 0.84})),
    "fft": (View("l1 of Re and Im", {}), View("magnitude", {"criterion": "magnitude"})),
    "focal_frequency": (View("α = 1", {}), View("α = 0 (plain l2)", {"alpha": 0.0})),
    "wavelet": (View("WGSR's weights", {}), View("LL alone", {"bands": ["LL"]})),
    "ldl": (
        View("through the map", {}),
        View("map detached", {"gradient": "detached"}),
    ),
    "lpips": (
        View("VGG16, no heads", {}),
        View("SqueezeNet, no heads", {"backbone": "squeezenet1_1"}),
    ),
    "dists": (View("VGG16, no heads", {}),),
}  # fmt: skip


#: What SR is where it is not the bicubic enlargement.
_TITLES = {"ldl": "bicubic ×4, sharpened too much"}


def scene_of(name: str) -> Scene:
    """Return the scene a loss is shown on: faces for faces, artefacts for artefacts."""
    if name == "landmark_prior":
        return Scene("astronaut")
    return Scene(sharpened=2.0) if name == "ldl" else Scene()


def main() -> None:
    torch.set_num_threads(1)
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(losses.SPECS)
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "figures.json"
    figures = json.loads(noted.read_text()) if noted.exists() else {}
    for name in names:
        scene = scene_of(name)
        found = [scene.gradient(name, view.parameters) for view in VIEWS[name]]
        figures[name] = [
            _figure(scene, view, *one) for view, one in zip(VIEWS[name], found, strict=True)
        ]
        panels = {
            "HR": _photo(scene.hr[0]),
            _TITLES.get(name, "bicubic ×4"): _photo(scene.sr.detach()[0]),
        }
        panels |= {
            view.title: _coloured(gradient)
            for view, (_, gradient) in zip(VIEWS[name], found, strict=True)
        }
        size = _save(panels, folder / f"{name}.png")
        print(name, *(f"{key} {value}" for key, value in figures[name][0].items()), f"{size} bytes")
    ordered = {name: figures[name] for name in losses.SPECS if name in figures}
    noted.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _figure(scene: Scene, view: View, value: float, gradient: Tensor) -> dict[str, Any]:
    """Return the numbers of one view: value, gradient's size in l1's, and its cosine with l2's."""
    _, of_l1 = scene.gradient("l1", {})
    _, of_l2 = scene.gradient("l2", {})
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), of_l2.flatten(), dim=0)
    return {
        "view": view.title,
        "parameters": view.parameters,
        "value": float(f"{value:.2g}"),
        "size": float(f"{float(gradient.norm() / of_l1.norm()):.2g}"),
        "cosine": round(float(cosine), 2) + 0.0,
    }


def _photo(image: Tensor) -> Image.Image:
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return _enlarged(pixels[:, _WINDOW, _WINDOW].permute(1, 2, 0).numpy())


def _coloured(gradient: Tensor) -> Image.Image:
    """Return −∂L/∂SR, summed over channels, as white for nothing, red for brighter, blue for darker."""
    wish = -gradient.sum(dim=0)
    part = wish[_WINDOW, _WINDOW]
    full = float(part.abs().flatten().quantile(0.99)) or 1.0
    steps = (part / full * (_LEVELS / 2)).round().clamp(-_LEVELS / 2, _LEVELS / 2) / _LEVELS
    colours = colormaps["RdBu_r"]((0.5 + steps).numpy())
    return _enlarged((colours[..., :3] * 255).round().astype(np.uint8))


def _enlarged(pixels: Any) -> Image.Image:
    side = _PART * _ZOOM
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)


def _save(panels: dict[str, Image.Image], path: Path) -> int:
    """Write the panels side by side with their titles below; return the file's size."""
    side = _PART * _ZOOM
    sheet = Image.new("RGB", (len(panels) * (side + _GAP) - _GAP, side + _FOOT), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(findfont("DejaVu Sans"), size=13)
    for index, (title, panel) in enumerate(panels.items()):
        left = index * (side + _GAP)
        sheet.paste(panel, (left, 0))
        pen.text((left + side / 2, side + _FOOT / 2), title, "black", font, anchor="mm")
    few = sheet.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    main()
