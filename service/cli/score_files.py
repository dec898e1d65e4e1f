"""What `srtune score` writes: all files or none, each whole."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.errors import NeedsPackages, WrongUsage

if TYPE_CHECKING:
    from workers.scoring import Report


def check_targets(targets: Mapping[str, Path], *, inputs: Sequence[Path]) -> None:
    """Refuse, before anything is computed, files that could not be written or must not be."""
    for kind, file in targets.items():
        if not file.parent.is_dir():
            raise WrongUsage(f"--{kind} {file}: there is no folder {file.parent}; make it first")
        if file.is_dir():
            raise WrongUsage(f"--{kind} {file} is a folder; name a file in it")
        if not os.access(file.parent, os.W_OK):
            raise WrongUsage(f"--{kind} {file}: {file.parent} cannot be written to")
        if file.exists() and any(other.exists() and file.samefile(other) for other in inputs):
            raise WrongUsage(f"--{kind} {file} would overwrite what is scored; name another file")
    if len({file.resolve() for file in targets.values()}) < len(targets):
        raise WrongUsage("two outputs have the same name; give each its own")
    if "plot" in targets and find_spec("matplotlib") is None:
        raise NeedsPackages("--plot needs matplotlib; pip install 'srtune[demo]' brings it")


def write(report: Report, targets: Mapping[str, Path]) -> None:
    """Write every file beside its place first, and move them only when all are complete."""
    written: dict[Path, Path] = {}
    try:
        for kind, file in targets.items():
            with tempfile.NamedTemporaryFile(
                dir=file.parent, prefix=f".{file.name}.", delete=False
            ) as scratch:
                partial = Path(scratch.name)
            written[partial] = file
            _write(kind, report, partial)
        for partial, file in written.items():
            partial.chmod(0o644)
            partial.replace(file)
    finally:
        for partial in written:
            partial.unlink(missing_ok=True)


def _write(kind: str, report: Report, path: Path) -> None:
    if kind == "json":
        text = json.dumps(report.plain(), indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    elif kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = csv.DictWriter(file, fieldnames=["index", "name", *report.pooled])
            lines.writeheader()
            lines.writerows(report.frames)
    else:
        from workers.scoring.plot import draw

        draw(report, path)
