"""comparison.png: crops of held-out photographs as the front's members upscale them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from service.client import Client
from service.contract.errors import BlobNotFound
from service.contract.study import StudyDefinition
from service.contract.trial import Best, Front, StudyView, TrialView
from workers import metrics, models
from workers.data.degrade import enlarge
from workers.data.pairs import Whole, validation
from workers.data.sources import load
from workers.evaluate import super_resolve

#: HR pixels a side of a crop, shown twice as large: five columns in 1200 pixels.
_CROP = 112
_ZOOM = 2
_GAP, _HEAD, _FOOT, _MARGIN = 12, 40, 26, 14
_PER_PHOTO = 2
_SHOWN = {"psnr_y": "{:.2f} dB", "hf_energy_error": "HF err. {:.2f} dB", "mdsi": "MDSI {:.3f}"}


@dataclass(frozen=True)
class _Column:
    title: str
    images: list[Tensor]  #: uint8 (3, H, W), one per photograph
    captions: list[str]  #: one per photograph


def draw_comparison(client: Client, study: StudyView, front: Front, best: Best, path: Path) -> Path:
    """Rebuild the front's ends and the chosen generator, and set their images beside HR."""
    definition = study.definition
    scale = definition.data.scale
    photos = validation(load(definition.data.validation), scale)
    made = {"bicubic": [_bytes(enlarge(photo.lr, scale)) for photo in photos]}
    for title, trial in _chosen(front, best):
        generator = _generator(client, trial, definition)
        made[title] = [_bytes(super_resolve(generator, photo.lr, scale=scale)) for photo in photos]
    names = [name for name in definition.objectives if name in _SHOWN]
    columns = [
        _Column(title, images, _captions(images, photos, names, scale))
        for title, images in made.items()
    ]
    columns.append(_Column("HR", [photo.hr for photo in photos], [photo.name for photo in photos]))
    windows = [
        (index, top, left)
        for index, photo in enumerate(photos)
        for top, left in _windows(photo.hr, count=_PER_PHOTO)
    ]
    _draw(columns, windows, path)
    return path


def _chosen(front: Front, best: Best) -> list[tuple[str, TrialView]]:
    """The front from its distortion end to its perception end, the chosen point between.

    One trial that is two of them is one column.
    """
    roles = [
        (front.members[-1], "distortion end"),
        (best.trial, "chosen"),
        (front.members[0], "perception end"),
    ]
    trials = {trial.uid: trial for trial, _ in roles}
    return [
        (f"trial {trial.number}: {', '.join(role for t, role in roles if t.uid == uid)}", trial)
        for uid, trial in trials.items()
    ]


def _generator(client: Client, trial: TrialView, definition: StudyDefinition) -> nn.Module:
    """The trained generator of a trial, rebuilt from the weights it handed in."""
    if trial.weights_blob is None:
        raise BlobNotFound(f"trial {trial.number} handed in no weights; run the study again")
    model = definition.model
    generator = models.build(model.name, scale=definition.data.scale, **model.parameters)
    with tempfile.TemporaryDirectory() as folder:
        file = client.get_blob(trial.weights_blob, Path(folder) / "weights.safetensors")
        generator.load_state_dict(load_file(file))
    return generator.eval()


def _captions(
    images: Sequence[Tensor], photos: Sequence[Whole], names: Sequence[str], scale: int
) -> list[str]:
    """The scores of each whole photograph, as people read them."""
    pairs = [(image.float() / 255, photo.hr) for image, photo in zip(images, photos, strict=True)]
    scores = metrics.score(names, pairs, scale=scale)
    return [
        "   ".join(_SHOWN[name].format(scores[name][index]) for name in names)
        for index in range(len(pairs))
    ]


def _windows(hr: Tensor, *, count: int) -> list[tuple[int, int]]:
    """Corners of the crops with the most detail in HR, apart from each other."""
    grey = hr.float().mean(0)
    detail = torch.zeros_like(grey)
    detail[1:, 1:] = (grey[1:, 1:] - grey[:-1, 1:]).abs() + (grey[1:, 1:] - grey[1:, :-1]).abs()
    # The square root keeps one hard edge from outweighing a whole texture.
    sums = F.avg_pool2d(detail.sqrt()[None, None], _CROP, stride=8)[0, 0]
    corners: list[tuple[int, int]] = []
    for place in sums.flatten().argsort(descending=True).tolist():
        top, left = 8 * (place // sums.shape[1]), 8 * (place % sums.shape[1])
        if all(max(abs(top - t), abs(left - x)) >= _CROP for t, x in corners):
            corners.append((top, left))
        if len(corners) == count:
            break
    return corners


def _draw(columns: Sequence[_Column], windows: Sequence[tuple[int, int, int]], path: Path) -> None:
    side = _CROP * _ZOOM
    width = 2 * _MARGIN + len(columns) * side + (len(columns) - 1) * _GAP
    height = _HEAD + len(windows) * (side + _FOOT) + _MARGIN
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    for across, column in enumerate(columns):
        x = _MARGIN + across * (side + _GAP)
        _write(figure, x + side / 2, height - _HEAD / 2, column.title, size=11.5, weight="bold")
        for down, (photo, top, left) in enumerate(windows):
            y = height - _HEAD - down * (side + _FOOT) - side
            crop = column.images[photo][:, top : top + _CROP, left : left + _CROP]
            shown = crop.permute(1, 2, 0).numpy().repeat(_ZOOM, 0).repeat(_ZOOM, 1)
            figure.figimage(shown, xo=x, yo=y, origin="upper")
            _write(figure, x + side / 2, y - _FOOT / 2, column.captions[photo], size=9.5)
    figure.savefig(path, dpi=100)


def _write(
    figure: Figure, x: float, y: float, text: str, *, size: float, weight: str = "normal"
) -> None:
    """Centre a text at a pixel, counted from the lower left."""
    width, height = figure.get_size_inches() * 100
    figure.text(x / width, y / height, text, fontsize=size, weight=weight, ha="center", va="center")


def _bytes(image: Tensor) -> Tensor:
    """An image in [0, 1] as it would be stored."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
