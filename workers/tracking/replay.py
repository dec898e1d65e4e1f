"""One spool carried to one run: in batches, in order, and from where the last try got to."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.tracking import folder as layout
from workers.tracking.images import webp
from workers.tracking.transport import MlflowRefused, Transport

logger = logging.getLogger(__name__)

_BATCH = 500
#: Namespace of picture names; fixed, so that a picture sent twice has one name.
_PICTURES = uuid.UUID("7a0a3c1e-6a53-4b0e-9b57-6d2f3f5f0d9a")


@dataclass(frozen=True)
class _Record:
    """A line of the journal, and where the next one begins."""

    fields: dict[str, Any]
    end: int

    @property
    def size(self) -> int:
        return len(self.fields.get("metrics", ())) + len(self.fields.get("tags", ()))

    @property
    def small(self) -> bool:
        return "content" not in self.fields


class Replay:
    """Carries the spool at `folder` to run `run_id`. What MLflow refuses is kept in `dead`."""

    def __init__(self, transport: Transport, folder: Path, run_id: str, dead: Path) -> None:
        self._transport = transport
        self._folder = folder
        self._run_id = run_id
        self._dead = dead / folder.name
        self._root: str | None = None

    def run(self, until: int) -> None:
        """Carry everything up to byte `until` of the journal.

        MlflowAway and RunMissing come through; what was carried before stays marked.
        """
        for batch in _batches(self._folder / layout.JOURNAL, layout.sent(self._folder), until):
            if batch[0].small:
                self._log(batch)
            else:
                self._carry(batch[0].fields)
            layout.mark_sent(self._folder, batch[-1].end)
            for record in batch:
                self._drop_content(record.fields)

    def _log(self, batch: list[_Record]) -> None:
        try:
            for body in _bodies(batch):
                self._transport.log_batch(self._run_id, body)
        except MlflowRefused as error:
            # One bad record must not take its neighbours along.
            if len(batch) == 1:
                self._bury(batch[0].fields, error)
                return
            half = len(batch) // 2
            self._log(batch[:half])
            self._log(batch[half:])

    def _carry(self, record: dict[str, Any]) -> None:
        source = self._folder / layout.CONTENT / record["content"]
        try:
            for path, data in _files(record, source, self._folder.name):
                self._put(path, data)
            if "image" in record:
                tag = {"key": "mlflow.loggedImages", "value": "true"}
                self._transport.log_batch(self._run_id, {"tags": [tag]})
        except (MlflowRefused, OSError) as error:
            self._bury(record, error)

    def _put(self, path: str, content: bytes | Path) -> None:
        if self._root is None:
            self._root = self._transport.artifact_root(self._run_id)
        self._transport.put(f"{self._root}/{path}", content)

    def _bury(self, record: dict[str, Any], error: Exception) -> None:
        logger.error("MLflow does not take a record of %s, kept: %s", self._folder.name, error)
        self._dead.mkdir(parents=True, exist_ok=True)
        with (self._dead / "refused.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record | {"error": str(error)}) + "\n")
        if "content" in record:
            source = self._folder / layout.CONTENT / record["content"]
            if source.exists():
                shutil.copyfile(source, self._dead / record["content"])

    def _drop_content(self, record: dict[str, Any]) -> None:
        if "content" in record:
            (self._folder / layout.CONTENT / record["content"]).unlink(missing_ok=True)


def _batches(journal: Path, start: int, until: int) -> Iterator[list[_Record]]:
    """Runs of small records up to a batch's size; a record with content comes alone."""
    batch: list[_Record] = []
    for record in _records(journal, start, until):
        room = sum(r.size for r in batch) + record.size <= _BATCH
        if batch and not (record.small and batch[0].small and room):
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _records(journal: Path, start: int, until: int) -> Iterator[_Record]:
    with journal.open("rb") as file:
        file.seek(start)
        while file.tell() < until and (line := file.readline()):
            yield _Record(json.loads(line), file.tell())


def _bodies(batch: list[_Record]) -> Iterator[dict[str, Any]]:
    points = [
        {
            "key": key,
            "value": value,
            "step": record.fields["step"],
            "timestamp": record.fields["time"],
        }
        for record in batch
        for key, value in record.fields.get("metrics", {}).items()
    ]
    tags: dict[str, str] = {}
    for record in batch:
        tags |= record.fields.get("tags", {})
    pairs = [{"key": key, "value": value} for key, value in tags.items()]
    for first in range(0, len(points), _BATCH):
        yield {"metrics": points[first : first + _BATCH]}
    for first in range(0, len(pairs), 100):
        yield {"tags": pairs[first : first + 100]}


def _files(record: dict[str, Any], source: Path, seed: str) -> Iterator[tuple[str, bytes | Path]]:
    if "file" in record:
        yield str(record["file"]), source
        return
    key, step, time = record["image"], record["step"], record["time"]
    # MLflow's grid finds pictures by their names alone.
    unique = uuid.uuid5(_PICTURES, f"{seed}/{key}/{step}")
    name = f"images/{key.replace('/', '~')}+step+{step}+timestamp+{time}+{unique}"
    yield f"{name}.png", source
    yield f"{name}+compressed.webp", webp(source.read_bytes())
