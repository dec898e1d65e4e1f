"""One term of a study on one real batch, ready to be tried on any images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

import losses
from service.contract.study import StudyDefinition
from workers.criterion import Criterion
from workers.data.pairs import Batch
from workers.suppliers import Step

#: Crops that are looked at: findings do not get better with more, and every rule pays for them.
_CROPS = 4

#: Value of the term, unweighted, of SR images for a batch.
Evaluate = Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True)
class Slopes:
    """A term's value with its gradients, at the images and at the generator's parameters."""

    value: Tensor
    image: Tensor
    parameters: Sequence[Tensor]

    @property
    def image_norm(self) -> float:
        return float(self.image.norm())

    @property
    def parameter_norm(self) -> float:
        return float(torch.nn.utils.get_total_norm(self.parameters))

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.image).all())


@dataclass
class Probe:
    """A term, what it is computed with, and the batch it is tried on."""

    key: str
    loss: nn.Module
    evaluate: Evaluate
    generator: nn.Module
    batch: Batch
    scale: int
    #: Least where SR equals HR; False for priors and judgements on SR alone.
    compares: bool
    #: Whether the study trains in bfloat16.
    half: bool
    seconds: float = 0.0

    @cached_property
    def sr(self) -> Tensor:
        """What the generator makes of the batch, without its graph."""
        with torch.no_grad():
            made: Tensor = self.generator(self.batch.lr)
        return made.float()

    @cached_property
    def start(self) -> Slopes:
        """The term where the study's trials begin."""
        parameters = list(self.generator.parameters())
        sr = self.generator(self.batch.lr).float()
        began = time.perf_counter()
        value = self.evaluate(sr, self.batch)
        image = _gradient(value, sr)
        self.seconds = time.perf_counter() - began
        found = torch.autograd.grad(
            sr, parameters, grad_outputs=image, allow_unused=True, materialize_grads=True
        )
        return Slopes(value.detach(), image, found)

    def at(self, sr: Tensor, batch: Batch | None = None) -> tuple[Tensor, Tensor]:
        """Return value and gradient at these images, (N, 3, H, W)."""
        moved = sr.detach().clone().requires_grad_()
        value = self.evaluate(moved, self.batch if batch is None else batch)
        return value.detach(), _gradient(value, moved)

    def noise(self, amplitude: float) -> Tensor:
        """Return SR-sized noise of exactly this absolute value, signs from a fixed seed."""
        generator = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, self.sr.shape, generator=generator) * 2 - 1
        return (amplitude * signs).to(self.sr)


def probes_of(
    definition: StudyDefinition,
    alone: Mapping[str, Criterion],
    generator: nn.Module,
    batch: Batch,
    *,
    number: int,
) -> list[Probe]:
    """Return a probe of every term, from criteria that hold one each; `number` steps were taken."""
    if batch.windows is None:
        labels = None if batch.labels is None else batch.labels[:_CROPS]
        batch = Batch(batch.lr[:_CROPS], batch.hr[:_CROPS], labels)
    return [
        Probe(
            key=key,
            loss=term.terms[key],
            evaluate=_evaluation(key, term, number),
            generator=generator,
            batch=batch,
            scale=definition.data.scale,
            compares=losses.SPECS[definition.term(key).loss].compares,
            half=definition.training.dtype == "bfloat16",
        )
        for key, term in alone.items()
    ]


def _evaluation(key: str, term: Criterion, number: int) -> Evaluate:
    def evaluate(sr: Tensor, batch: Batch) -> Tensor:
        step = Step(batch, sr, number)
        return term.parts(step, term.given(step))[key]

    return evaluate


def _gradient(value: Tensor, images: Tensor) -> Tensor:
    """∂value/∂images; zeros for a value that is cut off from the images."""
    if not value.requires_grad:
        return torch.zeros_like(images)
    (found,) = torch.autograd.grad(
        value, images, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return found
