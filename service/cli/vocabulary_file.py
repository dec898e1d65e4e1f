"""The vocabulary kept in the data folder, because reading it off the registries imports torch.

A restart reads 60 kB of JSON instead. The file carries a digest of the sources it was made from:
after an upgrade, or an edit in a checkout, it is made again, in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from service.cli.errors import StackFailed
from service.contract.vocabulary import Vocabulary

_NAME = "vocabulary.json"
#: What the vocabulary is made of: packages and modules.
_SOURCES = (
    "losses",
    "workers/models",
    "workers/metrics",
    "workers/vocabulary.py",
    "service/contract/vocabulary.py",
)
#: With what it is made: a default that torch or numpy names may change with them.
_PACKAGES = ("srtune", "torch", "numpy", "pydantic")
_MAKE = (
    "import sys; from workers.vocabulary import vocabulary; "
    "sys.stdout.write(vocabulary().model_dump_json())"
)
_SECONDS = 300.0


class VocabularyFile:
    """A data folder's vocabulary; `begin` early, do other things, then `read`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._digest = digest_of_sources()
        self._found: Vocabulary | None = None
        self._making: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Have it made, unless the file is there and fresh; returns at once."""
        self._found = self._found or self._stored()
        if self._found is None and self._making is None:
            self._making = subprocess.Popen(
                [sys.executable, "-c", _MAKE],
                cwd=_root("service").parent,  # so that it finds the packages we are
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def read(self) -> Vocabulary:
        """The vocabulary; StackFailed with the last line when it cannot be made."""
        self.begin()
        if self._making is not None:
            self._found, self._making = _made(self._making), None
            self._store(self._found)
        assert self._found is not None
        return self._found

    def _stored(self) -> Vocabulary | None:
        """What the file says, if it was made from these sources; a torn or foreign file counts as none."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["digest"] != self._digest:
                return None
            return Vocabulary.model_validate(kept["vocabulary"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None

    def _store(self, vocabulary: Vocabulary) -> None:
        """Whole or not at all; a folder that cannot be written costs the next start some seconds."""
        content = {"digest": self._digest, "vocabulary": vocabulary.model_dump(mode="json")}
        partial = self._path.with_name(f"{_NAME}.part-{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(content))
            partial.replace(self._path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def _made(making: subprocess.Popen[str]) -> Vocabulary:
    try:
        out, err = making.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        making.kill()
        making.communicate()
        raise StackFailed(
            f"the losses could not be listed within {_SECONDS:.0f} s; start again"
        ) from error
    if making.returncode != 0:
        last = (err.strip().splitlines() or [f"code {making.returncode}"])[-1]
        raise StackFailed(f"the losses, models and metrics could not be listed: {last}")
    return Vocabulary.model_validate_json(out)


def digest_of_sources() -> str:
    """SHA-256 over everything the vocabulary is made of, content and names."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        digest.update(f"{package} {_version(package)}\n".encode())
    for path in sorted(_files()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    for name in _SOURCES:
        path = _root(name.partition("/")[0]).parent / name
        if path.is_dir():
            # Nested packages too: a loss may share its parts below.
            yield from path.rglob("*.py")
        else:
            yield path


def _root(package: str) -> Path:
    """A package's folder, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StackFailed(f"the package {package} is not installed; pip install 'srtune[all]'")
    return Path(spec.submodule_search_locations[0])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
