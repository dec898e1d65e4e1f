"""What the loss linter found in a study's own losses, on its own model and photographs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"  #: the study cannot mean this; nothing is trained until it is mended
    WARNING = "warning"  #: trains, but not as the weights suggest
    NOTE = "note"  #: good to know when weights are compared with other people's


class LintFinding(_Part):
    """One thing to know about one term."""

    rule: str = Field(description="zero-gradient, dead-zone, patch-size, range, batch, ...")
    term: str = Field(description="Key of the term; empty: the study as a whole.")
    severity: Severity
    message: str = Field(description="What was measured, what it means, what to do.")


class LintRow(_Part):
    """One term at the shared start; numbers that are not finite are null."""

    term: str
    weight: Number = Field(description="As given; searched terms: where all searched pull alike.")
    searched: bool
    value: Number | None = Field(description="L, unweighted.")
    image_gradient: Number | None = Field(description="‖∂L/∂SR‖ over the batch, unweighted.")
    parameter_gradient: Number | None = Field(description="‖∂L/∂θ‖, unweighted.")
    share: Number = Field(description="w·‖∂L/∂θ‖ / Σ w·‖∂L/∂θ‖.")
    milliseconds: Number = Field(description="Forward and backward of this term alone.")


class LintReport(_Part):
    """The table and the findings, worst first."""

    rows: list[LintRow]
    findings: list[LintFinding]
    patch: int = Field(description="Side of the HR crops it was measured on.")
    batch: int = Field(description="Crops.")

    @property
    def errors(self) -> list[LintFinding]:
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]
