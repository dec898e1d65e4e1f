"""A study that trains in a second: crops of real photographs, a narrow VGG, a small discriminator."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs

from losses._features import FeatureNetwork, network
from service.client import Client
from service.contract.study import StudyDefinition
from service.contract.trial import Blob, Checkpoint, TrialJob, TrialKind
from workers.bench import Bench
from workers.course import Course, open_course
from workers.start import save_start
from workers.trainer import Event

NARROW = Path(__file__).parents[1] / "vectors" / "losses" / "vgg19_narrow.npz"
WEIGHTS = {"l1": 1.0, "content": 0.1, "adversarial": 0.02, "edge": 0.3}


def narrow_network(_: str) -> FeatureNetwork:
    """A VGG19 of a sixteenth of the width, whatever is asked for."""
    return network("vgg19", {key: torch.from_numpy(a) for key, a in np.load(NARROW).items()})


def write_photos(folder: Path) -> Path:
    for kind, name, x, y in (
        ("train", "astronaut", 100, 0),
        ("train", "coffee", 200, 100),
        ("validation", "chelsea", 120, 60),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        pixels = getattr(photographs, name)()[y : y + 48, x : x + 64]
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    return folder


def define(photos: Path, **changes: Any) -> StudyDefinition:
    """The study, with other `training` or `losses` if given."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "train": [str(photos / "train")],
            "validation": [str(photos / "validation")],
            "patch": 32,
            "batch": 2,
        },
        "model": {"name": "espcn"},
        "losses": [
            {"loss": "l1"},
            {"loss": "content", "parameters": {"backbone": "vgg19", "layers": ["relu2_2"]}},
            {"loss": "adversarial", "parameters": {"kind": "relativistic", "channels": 4}},
            {"loss": "edge"},
        ],
        "training": {
            "steps": 8,
            "rungs": [0.5],
            "log_every": 3,
            "warmup": {"steps": 5, "discriminator_steps": 3, "calibration_batches": 2},
        }
        | changes.pop("training", {}),
    }
    return StudyDefinition.model_validate(raw | changes, strict=False)


def job(definition: StudyDefinition, kind: TrialKind = TrialKind.SEARCH, **more: Any) -> TrialJob:
    start = kind is TrialKind.START
    given: dict[str, Any] = {
        "study_id": "s1",
        "study_name": definition.name,
        "uid": f"u{0 if start else 1}",
        "number": 0 if start else 1,
        "kind": kind,
        "origin": "start" if start else "sampler",
        "attempt": 1,
        "seed": definition.training.seed,
        "definition": definition,
        "weights": {} if start else WEIGHTS,
        "shares": {},
    }
    return TrialJob(**(given | more))


def new_bench(folder: Path) -> Bench:
    """A bench that has what `shelve` put there and can fetch nothing."""
    torch.set_num_threads(1)
    client = Client("http://127.0.0.1:9", patience=0.0)
    return Bench(client, torch.device("cpu"), folder, load_network=narrow_network)


def shelve(bench: Bench, file: Path) -> Blob:
    """Put a file where the bench keeps what it has fetched."""
    content = file.read_bytes()
    blob = Blob(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    shelf = bench.folder / "blobs"
    shelf.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, shelf / blob.sha256)
    return blob


def silent(values: object, step: int) -> None:
    """Log nothing."""


def run(course: Course, *, until: int | None = None) -> list[Event]:
    """Run a course to step `until`, or to its end; return its events."""
    events = []
    for event in course.events:
        events.append(event)
        if course.state.step == until:
            break
    return events


def make_start(definition: StudyDefinition, bench: Bench) -> Blob:
    """Train the shared start of a study and keep it on the bench."""
    course = open_course(job(definition, TrialKind.START), bench, log=silent)
    run(course)
    path = bench.folder / "start.pt"
    save_start(course.state, path)
    return shelve(bench, path)


def train_to(folder: Path, work: TrialJob, file: Path, until: int | None = None) -> None:
    """Train a job on a bench of its own and save the state to `file`; runs in any process."""
    course = open_course(work, new_bench(folder), log=silent)
    run(course, until=until)
    course.state.seconds = 0.0  # the only thing two equal trainings may differ in
    course.state.save(file)


def resumed(work: TrialJob, blob: Blob, step: int) -> TrialJob:
    return work.model_copy(update={"resume": Checkpoint(blob=blob, step=step)})
