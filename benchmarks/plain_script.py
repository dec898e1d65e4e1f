"""The training of a trial as one would write it by hand, in plain eager PyTorch."""

from __future__ import annotations

import copy
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import losses
from losses._features import Features
from service.contract.study import StudyDefinition
from workers import evaluate, models, weights
from workers.data.pairs import validation
from workers.data.sources import load


class PngPairs(Dataset[tuple[Tensor, Tensor]]):
    """Decodes a photograph per crop, as trainers do: HR and LR files side by side.

    `in_memory` keeps what was decoded, as a careful author would who has the memory.
    """

    def __init__(
        self, folder: Path, scale: int, patch: int, length: int, *, in_memory: bool
    ) -> None:
        self.kept: dict[str, np.ndarray] | None = {} if in_memory else None
        self.files = sorted(folder.glob("*.hr.png"))
        self.scale, self.patch, self.length = scale, patch, length

    def __len__(self) -> int:
        return self.length

    def decoded(self, file: str) -> np.ndarray:
        if self.kept is None:
            return np.asarray(Image.open(file))
        if file not in self.kept:
            self.kept[file] = np.asarray(Image.open(file))
        return self.kept[file]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draw = np.random.default_rng(index)
        file = self.files[draw.integers(len(self.files))]
        hr, lr = self.decoded(str(file)), self.decoded(str(file).replace(".hr.", ".lr."))
        side = self.patch // self.scale
        y, x = draw.integers(lr.shape[0] - side + 1), draw.integers(lr.shape[1] - side + 1)
        pair = []
        for pixels, factor in ((lr, 1), (hr, self.scale)):
            crop = pixels[y * factor : (y + side) * factor, x * factor : (x + side) * factor]
            pair.append(torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255)
        if draw.random() < 0.5:
            pair = [crop.flip(2) for crop in pair]
        return pair[0], pair[1]


def write_pngs(definition: StudyDefinition, folder: Path) -> None:
    """The same photographs as PNG files, LR beside HR."""
    scale = definition.data.scale
    for whole in validation(load(definition.data.train), scale):
        hr = (whole.hr if whole.hr.dtype == torch.uint8 else (whole.hr * 255).round().byte()).cpu()
        lr = (whole.lr * 255).round().byte() if whole.lr.is_floating_point() else whole.lr
        name = whole.name.replace("/", "_")
        Image.fromarray(hr.permute(1, 2, 0).numpy()).save(folder / f"{name}.hr.png")
        Image.fromarray(lr.permute(1, 2, 0).numpy()).save(folder / f"{name}.lr.png")


def plain_training(
    definition: StudyDefinition, pngs: Path, folder: Path, *, in_memory: bool
) -> float:
    """Train one trial as a hand-written script would; seconds, everything but imports included."""
    began = time.perf_counter()
    data, training, scale = definition.data, definition.training, definition.data.scale
    pairs = PngPairs(pngs, scale, data.patch, data.batch * training.steps, in_memory=in_memory)
    loader = DataLoader(pairs, batch_size=data.batch)
    generator = models.build(definition.model.name, scale=scale, **definition.model.parameters)
    averaged = copy.deepcopy(generator)
    terms: dict[str, Any] = {t.key: losses.build(t.loss, **t.parameters) for t in definition.losses}
    network = weights.feature_network(terms["content"].source)
    discriminator: nn.Module = terms["adversarial"].build_discriminator()
    adam = torch.optim.Adam(generator.parameters(), lr=training.optimizer.lr)
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=training.optimizer.discriminator_lr)
    held_out = validation(load(data.validation), scale)
    rungs = set(training.rung_steps())
    with (folder / "log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        for step, (lr, hr) in enumerate(loader, start=1):
            sr = generator(lr)
            layers = set(terms["content"].layers)
            with torch.no_grad():
                of_hr = network.extract(hr, layers)
            features = Features(sr=network.extract(sr, layers), hr=of_hr)
            parts = {
                "l1": F.l1_loss(sr, hr),
                "content": terms["content"](sr, hr, features=features),
                "adversarial": terms["adversarial"](sr, hr, discriminator=discriminator),
                "edge": terms["edge"](sr, hr),
            }
            adam.zero_grad()
            (
                parts["l1"] + 0.1 * parts["content"] + 0.005 * parts["adversarial"] + parts["edge"]
            ).backward()
            adam.step()
            adam_d.zero_grad()
            terms["adversarial"].discriminator_loss(sr.detach(), hr, discriminator).backward()
            adam_d.step()
            with torch.no_grad():
                for mean, value in zip(averaged.parameters(), generator.parameters(), strict=True):
                    mean.lerp_(value, 0.01)
            if step % training.log_every == 0:
                log.writerow([step, *(float(part.detach()) for part in parts.values())])
            if step in rungs or step == training.steps:
                names = evaluate.metric_names(definition, final=step == training.steps)
                log.writerow([step, evaluate.score(averaged, held_out, names, scale=scale).means])
                torch.save(generator.state_dict(), folder / f"{step}.pt")
    return time.perf_counter() - began
