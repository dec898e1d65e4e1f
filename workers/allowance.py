"""What a study may make a worker open: the folders, packages and weights that its operator named.

A study is written by somebody who has no account on this machine. Its strings are paths and names
of what is here, and each is held against this list before anything is opened. None of them is ever
imported, executed, or fetched from an address.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from workers.weights.catalogue import CATALOGUE

_PACKAGE = "package:"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class NotAllowed(Exception):
    """A study names what this worker's operator keeps from studies; the sentence says how to allow it."""


class DataNotAllowed(NotAllowed):
    """Photographs that studies may not read here."""


class WeightsNotAllowed(NotAllowed):
    """Weights that studies may not load here."""


@dataclass(frozen=True)
class Place:
    """Where a source of photographs lies."""

    path: Path
    within: tuple[Path, ...] | None  #: its files must lie in one of these; None: anywhere
    source: str  #: the study's word for it

    def check(self, file: Path) -> None:
        """Raise DataNotAllowed unless this file of it may be read, wherever links lead."""
        if self.within is None:
            return
        real = _real(file)
        if not any(real.is_relative_to(folder) for folder in self.within):
            raise DataNotAllowed(
                f"{self.source} is not open to studies on this worker ({file}); start it with "
                "--allow-data and a folder that holds it, or use other photos"
            )


@dataclass(frozen=True)
class Allowance:
    """Folders of photographs, packages and weights that studies may name; None: whatever is here.

    Weights of the catalogue may always be named.
    """

    data: tuple[Path, ...] | None = None
    packages: frozenset[str] | None = None
    weights: tuple[Path, ...] | None = None

    @classmethod
    def only(
        cls,
        *,
        data: Iterable[Path] = (),
        packages: Iterable[str] = (),
        weights: Iterable[Path] = (),
    ) -> Self:
        """Nothing but these, wherever links among them lead."""
        folders, files = (tuple(_real(path) for path in paths) for paths in (data, weights))
        return cls(folders, frozenset(packages), files)

    def sources(self, sources: Iterable[str]) -> None:
        """Raise DataNotAllowed unless all of these may be read; opens none of them."""
        for source in sources:
            self.source(source)

    def source(self, source: str) -> Place | None:
        """Where a source of photographs lies; None for a package that is not here.

        A package is looked up, never imported. Raises DataNotAllowed.
        """
        if source.startswith(_PACKAGE):
            return self._in_package(source)
        if "\0" in source or _ADDRESS.match(source):
            raise DataNotAllowed(f"{source!r} is no path; name a folder or file of the worker")
        place = Place(_expanded(source), self.data, source)
        place.check(place.path)
        return place

    def _in_package(self, source: str) -> Place | None:
        name, _, inside = source.removeprefix(_PACKAGE).partition("/")
        if self.packages is not None and name not in self.packages:
            raise DataNotAllowed(
                f"{source} is not open to studies on this worker; start it with --allow-package "
                f"{name or 'NAME'}, or use other photos"
            )
        root = _package(name)
        if root is None:
            return None
        if inside.startswith("/") or ".." in Path(inside).parts:
            raise DataNotAllowed(f"{source} leads out of its package; name a file inside of it")
        # Some installers link each file from elsewhere, which is fine where anything may be read.
        within = None if self.packages is None else (_real(root),)
        place = Place(root / inside, within, source)
        place.check(place.path)
        return place

    def weight(self, name: str) -> None:
        """Raise WeightsNotAllowed unless these weights may be loaded; empty: a loss's own."""
        if not name or name in CATALOGUE:
            return
        if "\0" in name or _ADDRESS.match(name):
            raise WeightsNotAllowed(
                f"weights {name!r} are an address, and none is fetched because a study says so; "
                "name weights of the catalogue, or a file on the worker"
            )
        path = _real(_expanded(name))
        if self.weights is not None and not any(path.is_relative_to(at) for at in self.weights):
            raise WeightsNotAllowed(
                f"weights {name} are not open to studies on this worker; start it with "
                "--allow-weights and a folder that holds them, or name some of the catalogue"
            )


#: What a user's own command may open: as much as the user.
EVERYTHING = Allowance()


def _package(name: str) -> Path | None:
    # Looking up `a.b` would import `a`; a module without a specification has no place.
    if not name.isidentifier():
        return None
    try:
        found = importlib.util.find_spec(name)
    except (ValueError, ImportError):
        return None
    places = None if found is None else found.submodule_search_locations
    return Path(next(iter(places))) if places else None


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a home of somebody who is not here
        return Path(path)


def _real(path: Path) -> Path:
    """The path with its links resolved, as far as it exists."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise DataNotAllowed(f"{path} cannot be followed ({error}); correct the path") from error
