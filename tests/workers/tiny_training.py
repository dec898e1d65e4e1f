"""A study that trains in a second: crops of real photographs, a narrow VGG, a small discriminator."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs
from torch import Tensor

import losses
from losses._faces import FaceNetwork, FaceSource
from losses._features import FeatureNetwork, FeatureSource, network
from losses._landmarks import Landmarks68
from service.contract.study import StudyDefinition
from service.contract.trial import Blob, Checkpoint, TrialJob, TrialKind
from tests.losses.conftest import narrow_state
from workers.bench import Bench
from workers.course import Course, open_course
from workers.faces import Boxes, FaceDetector
from workers.start import save_start
from workers.trainer import Event

NARROW = Path(__file__).parents[1] / "vectors" / "losses" / "vgg19_narrow.npz"
WEIGHTS = {"l1": 1.0, "content": 0.1, "adversarial": 0.02, "edge": 0.3}


class Narrow:
    """Pretrained networks that are a few channels wide: VGG19 is stored, others are random."""

    def feature_network(self, source: FeatureSource) -> FeatureNetwork:
        if source.backbone == "vgg19":
            state = {key: torch.from_numpy(array) for key, array in np.load(NARROW).items()}
        else:
            state = narrow_state(source.backbone)
        preprocessing = "imagenet" if source.preprocessing == "own" else source.preprocessing
        return network(source.backbone, state, preprocessing, source.pooling, source.padding)

    def heads(self, name: str) -> Mapping[str, Tensor]:
        """Halves for every channel; `lpips_vgg16` is what `lpips` wants for vgg16, and so on."""
        loss: Any = losses.build(*name.split("_")[:1], heads=name)
        probe = self.feature_network(loss.source).extract(torch.rand(1, 3, 32, 32), loss.layers)
        shapes = loss.head_shapes({layer: found.shape[1] for layer, found in probe.items()})
        return {key: torch.full((size,), 0.5) for key, size in shapes.items()}

    def face_network(self, source: FaceSource) -> FaceNetwork:
        """The layout of the real one, four channels wide, with random weights."""
        random = torch.Generator().manual_seed(8)
        shapes = {
            "dense0.conv0.weight": (4, 3, 3, 3),
            "dense0.conv0.bias": (4,),
            "dense0.conv1.depthwise": (4, 1, 3, 3),
            "dense0.conv1.pointwise": (4, 4, 1, 1),
            "dense0.conv1.bias": (4,),
            "fc.weight": (136, 4),
            "fc.bias": (136,),
        }
        state = {
            key: torch.rand(shape, generator=random) - (0.0 if key == "fc.bias" else 0.5)
            for key, shape in shapes.items()
        }
        return Landmarks68(state, sigma=source.sigma)


class Counting(Narrow):
    """Notes every layer that is passed, and every network that is loaded."""

    def __init__(self) -> None:
        self.loaded: list[FeatureSource] = []
        self.passed: list[int] = []

    def feature_network(self, source: FeatureSource) -> FeatureNetwork:
        self.loaded.append(source)
        network = super().feature_network(source)
        for depth, layer in enumerate(network.steps):
            layer.register_forward_hook(lambda *_, depth=depth: self.passed.append(depth))
        return network


VGG19 = FeatureSource("vgg19")


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


def classes(photos: Path) -> dict[str, list[str]]:
    """Every photo that is trained on in a class of its own."""
    return {name: [str(photos / "train" / f"{name}.png")] for name in ("coffee", "astronaut")}


def define(photos: Path, **changes: Any) -> StudyDefinition:
    """The study, with other `training`, `data` or `losses` if given."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "train": [str(photos / "train")],
            "validation": [str(photos / "validation")],
            "patch": 32,
            "batch": 2,
        }
        | changes.pop("data", {}),
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


class OneFace(FaceDetector):
    """Finds one face, or none, at the same place of every photograph, and counts photographs."""

    def __init__(self, box: Sequence[float] | None) -> None:
        super().__init__({})
        self.box = box
        self.looked = 0

    def detect(self, photo: Tensor, **_: float) -> Boxes:
        self.looked += 1
        found = torch.tensor([self.box]) if self.box else torch.empty(0, 4)
        return Boxes(found, torch.ones(len(found)))


def nothing_to_fetch(blob: Blob, path: Path) -> None:
    raise FileNotFoundError(blob.sha256)


def new_bench(folder: Path, detector: OneFace | None = None) -> Bench:
    """A bench that has what `shelve` put there and can fetch nothing."""
    torch.set_num_threads(1)
    return Bench(
        nothing_to_fetch,
        torch.device("cpu"),
        folder,
        pretrained=Narrow(),
        face_detector=lambda: detector or OneFace(None),
    )


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
