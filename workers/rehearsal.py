"""The start of a study, made short and without a service, for the linter at the command line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from service.contract.lint import LintReport
from service.contract.study import StudyDefinition
from service.contract.trial import Blob, TrialJob, TrialKind
from workers import weights
from workers.bench import Bench
from workers.course import open_course
from workers.lint import LintFailed
from workers.suppliers import DefinitionError, Pretrained


def lint_study(
    definition: StudyDefinition,
    *,
    steps: int = 100,
    device: torch.device | str = "cpu",
    pretrained: Pretrained = weights,
) -> LintReport:
    """Return what the linter finds after `steps` of warm-up, at most those of the study.

    A discriminator gets a quarter of them. Raises what a trial would: DataError, DefinitionError,
    WeightsUnavailable, Diverged.
    """
    job = _short_start(definition, steps)
    with tempfile.TemporaryDirectory(prefix="srtune-lint-") as folder:
        bench = Bench(_nothing_to_fetch, torch.device(device), Path(folder), pretrained=pretrained)
        course = open_course(job, bench, log=lambda values, step: None)
        for _ in course.events:
            pass
        try:
            found = course.calibrate() if course.calibrate else None
        except LintFailed as failed:
            return failed.report
    if found is None or found.lint is None:
        raise DefinitionError("a start job gave no calibration")
    return found.lint


def _short_start(definition: StudyDefinition, steps: int) -> TrialJob:
    training = definition.training
    warmup = training.warmup.model_copy(
        update={
            "steps": max(1, min(steps, training.warmup.steps)),
            "discriminator_steps": min(steps // 4, training.warmup.discriminator_steps),
            "calibration_batches": 1,
        }
    )
    short = definition.model_copy(
        update={"training": training.model_copy(update={"warmup": warmup})}
    )
    return TrialJob(
        study_id="lint",
        study_name=definition.name,
        uid="lint",
        number=0,
        kind=TrialKind.START,
        origin="start",
        attempt=1,
        seed=training.seed,
        definition=short,
        weights={},
        shares={},
    )


def _nothing_to_fetch(blob: Blob, path: Path) -> None:
    raise FileNotFoundError(f"{blob.sha256} is kept by no service here")
