"""What can go wrong at the command line itself, and which exit code says so."""

from __future__ import annotations

from service.contract.errors import InvalidRequest, InvalidStudy, SrtuneError


class WrongUsage(SrtuneError):
    """The command was given something it cannot mean."""

    status = 422


class NeedsPackages(SrtuneError):
    """This command needs packages of an extra that is not installed."""


class PortTaken(SrtuneError):
    """Another process listens on the port already."""


class FolderTaken(SrtuneError):
    """Another service works on the data folder already."""


class StackFailed(SrtuneError):
    """A child process of `srtune up` could not do its work."""


class WeightsMissing(SrtuneError):
    """Pretrained weights could not be fetched."""


class StudyFailed(SrtuneError):
    """The study that was watched ended without results."""


def exit_code(error: BaseException) -> int:
    """2 for wrong usage and invalid definitions, 1 for everything else."""
    return 2 if isinstance(error, (InvalidStudy, InvalidRequest, WrongUsage)) else 1


def sentences(error: BaseException) -> list[str]:
    """An error as lines for people: the sentence, or each problem on its own line."""
    if isinstance(error, SrtuneError) and error.problems:
        count = len(error.problems)
        lines = [f"{count} problem{'s' if count > 1 else ''} in what was given:"]
        return lines + [
            f"  {problem.path}: {problem.message}" if problem.path else f"  {problem.message}"
            for problem in error.problems
        ]
    if isinstance(error, SrtuneError):
        return [error.detail]
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return [f"{name}{error.strerror}"]
    if isinstance(error, ModuleNotFoundError):
        return [f"the package {error.name} is not installed; pip install 'srtune[all]'"]
    return [str(error) or type(error).__name__]
