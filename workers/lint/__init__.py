"""The loss linter: what is wrong with a study's own losses, before a trial pays for it."""

from __future__ import annotations

from workers.lint.probe import Probe, probes_of
from workers.lint.report import LintFailed, examine

__all__ = ["LintFailed", "Probe", "examine", "probes_of"]
