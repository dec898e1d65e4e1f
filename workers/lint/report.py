"""All rules over all terms of a study, as one table and a list of findings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from losses import UnsuitableInput
from service.contract.lint import LintFinding, LintReport, LintRow, Severity
from service.contract.study import StudyDefinition
from workers.lint.probe import Probe
from workers.lint.rules import RULES
from workers.suppliers import DefinitionError

#: A gradient this many times another's leaves the other nothing to say.
_DROWNED = 1000.0
_ORDER = [Severity.ERROR, Severity.WARNING, Severity.NOTE]


class LintFailed(DefinitionError):
    """A study's losses cannot be trained as they are; the sentences say which and why."""

    def __init__(self, report: LintReport) -> None:
        self.report = report
        said = "; ".join(f"{found.term}: {found.message}" for found in report.errors)
        super().__init__(f"the loss linter found {len(report.errors)} error(s): {said}")


def examine(definition: StudyDefinition, probes: Sequence[Probe], *, reference: str) -> LintReport:
    """Return what the rules find in these terms; never raises for what a term does.

    `reference` is the key of the term that shares are measured against.
    """
    findings = [*_left_out(definition), *_output_range(probes)]
    able: list[Probe] = []
    for probe in probes:
        try:
            findings += [found for rule in RULES for found in rule(probe)]
            able.append(probe)
        except UnsuitableInput as error:
            findings.append(
                LintFinding(
                    rule="range", term=probe.key, severity=Severity.ERROR, message=str(error)
                )
            )
    rows = _rows(definition, able, reference)
    findings += _drowned(rows)
    shape = probes[0].batch.hr.shape
    return LintReport(
        rows=rows,
        findings=sorted(findings, key=lambda found: _ORDER.index(found.severity)),
        patch=shape[-1],
        batch=shape[0],
    )


def _rows(definition: StudyDefinition, probes: Sequence[Probe], reference: str) -> list[LintRow]:
    norms = {probe.key: _finite(probe.start.parameter_norm) for probe in probes}
    weights = _weights(definition, norms, reference)
    pulls = {key: weights[key] * (norm or 0.0) for key, norm in norms.items()}
    total = math.fsum(pulls.values())
    return [
        LintRow(
            term=probe.key,
            weight=weights[probe.key],
            searched=definition.term(probe.key).searched,
            value=_finite(float(probe.start.value)),
            image_gradient=_finite(probe.start.image_norm),
            parameter_gradient=norms[probe.key],
            share=pulls[probe.key] / total if total > 0 else 0.0,
            milliseconds=1000 * probe.seconds,
        )
        for probe in probes
    ]


def _weights(
    definition: StudyDefinition, norms: Mapping[str, float | None], reference: str
) -> dict[str, float]:
    """Given weights as they are; searched ones in the middle of what the search may take."""
    searched = [key for key in norms if definition.term(key).searched]
    at_one = norms.get(reference) or 1.0
    found: dict[str, float] = {}
    for key, norm in norms.items():
        term = definition.term(key)
        if not term.searched:
            found[key] = float(term.weight)
        elif definition.search.space == "weights":
            low, high = term.range or (1e-4, 10.0)
            found[key] = math.sqrt(low * high)
        else:
            found[key] = at_one / (norm * len(searched)) if norm else 0.0
    return found


def _drowned(rows: Sequence[LintRow]) -> Iterator[LintFinding]:
    """Terms whose gradient is a thousandth of another's at the weights that are given."""
    pulls = {row.term: row.weight * (row.parameter_gradient or 0.0) for row in rows}
    if not pulls:
        return
    loudest = max(pulls, key=lambda key: pulls[key])
    for row in rows:
        pull = pulls[row.term]
        if 0 < pull * _DROWNED < pulls[loudest]:
            ratio = pulls[loudest] / pull
            yield LintFinding(
                rule="imbalance",
                term=row.term,
                severity=Severity.WARNING,
                message=f"at weight {row.weight:.4g} its gradient is {ratio:,.0f} times smaller than that of "
                f"{loudest}: it changes nothing; weight {row.weight * ratio:.3g} would make them equal",
            )


def _left_out(definition: StudyDefinition) -> Iterator[LintFinding]:
    for term in definition.losses:
        if term.weight == 0:
            yield LintFinding(
                rule="zero-weight",
                term=term.key,
                severity=Severity.NOTE,
                message="it has weight 0: neither built nor computed, so it costs nothing",
            )


def _output_range(probes: Sequence[Probe]) -> Iterator[LintFinding]:
    """A generator whose images are far outside [0, 1] where trials begin."""
    sr = probes[0].sr
    low, high = float(sr.min()), float(sr.max())
    if low < -1 or high > 2 or not math.isfinite(low + high):
        yield LintFinding(
            rule="range",
            term="",
            severity=Severity.WARNING,
            message=f"the generator makes pixels from {low:.3g} to {high:.3g} at the start, but losses and "
            "metrics take [0, 1]; warm up longer, or see whether the model works in 0..255",
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
