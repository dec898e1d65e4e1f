"""What can be wrong with a single term; each rule looks at one probe and yields findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from losses import UnsuitableInput
from service.contract.lint import LintFinding, Severity
from workers.data.pairs import Batch
from workers.lint.probe import Probe

#: One grey level of an 8-bit image.
LEVEL = 1 / 255
#: Value or gradient may differ by this factor between a patch and its quarters, which have more
#: border; an unnormalised transform doubles, a sum takes four times.
_SAME_SCALE = 1.4
#: Relative difference of a batch and the mean of its images that is more than rounding.
_ROUNDING = 1e-3
#: Least cosine between the gradients in bfloat16 and in float32.
_SAME_DIRECTION = 0.9

Rule = Callable[[Probe], Iterator[LintFinding]]


def gradient_at_the_start(probe: Probe) -> Iterator[LintFinding]:
    """A value or gradient that is not finite, or a gradient of zero, where trials begin."""
    value = float(probe.start.value)
    if not math.isfinite(value):
        yield _error(
            probe, "not-finite", f"its value is {value} at the start; change its parameters"
        )
        return
    if not probe.start.finite:
        yield _error(
            probe,
            "not-finite",
            f"its value is {value:.4g}, but its gradient is NaN or infinite; look for a root or a "
            "division at zero, and give it an eps",
        )
    elif probe.start.image_norm == 0:
        with torch.no_grad():
            moved = float(probe.evaluate(probe.sr + probe.noise(4 * LEVEL), probe.batch))
        if moved == value:
            yield _warning(
                probe,
                "zero-gradient",
                f"it does not depend on SR here: its value stays {value:.4g} whatever SR is; see "
                "whether these photographs hold what it looks for",
            )
        else:
            yield _error(
                probe,
                "zero-gradient",
                f"no gradient reaches SR, though its value moves from {value:.4g} to {moved:.4g} when SR "
                "does: it is cut off from autograd (torch.no_grad, detach, rounding); it would be "
                "logged, and change nothing",
            )


def gradient_at_equal_images(probe: Probe) -> Iterator[LintFinding]:
    """NaN where SR equals HR, or where both are flat: training gets there sooner or later."""
    flat = probe.batch._replace(hr=torch.full_like(probe.batch.hr, 0.5))
    for what, sr, batch in (
        ("where SR equals HR", probe.batch.hr, probe.batch),
        ("on flat patches", torch.full_like(probe.batch.hr, 0.5), flat),
    ):
        value, gradient = probe.at(sr, batch)
        if not (torch.isfinite(value) and torch.isfinite(gradient).all()):
            yield _error(
                probe,
                "not-finite",
                f"its value is {float(value):.4g} and its gradient NaN or infinite {what}; a root at zero "
                "needs an eps",
            )


def dead_zone(probe: Probe) -> Iterator[LintFinding]:
    """No gradient for errors below one grey level, though there is one for larger errors."""
    if not probe.compares:
        return
    hr = probe.batch.hr
    _, small = probe.at(hr + probe.noise(0.9 * LEVEL))
    _, large = probe.at(hr + probe.noise(16 * LEVEL))
    dead = float((small == 0).double().mean())
    if float(large.norm()) > 0 and dead > 0.99:
        yield _error(
            probe,
            "dead-zone",
            f"{dead:.0%} of the pixels have no gradient where SR is off by less than 1/255, so the last "
            "grey level is never learnt; lower its threshold, or set it to 0",
        )


def patch_size(probe: Probe) -> Iterator[LintFinding]:
    """A value or gradient that grows with the patch: weights then hold for one patch size only."""
    side = probe.batch.hr.shape[-1]
    if probe.batch.windows is not None or side % (2 * probe.scale):
        return
    try:
        quarters = [
            probe.at(sr, probe.batch._replace(lr=lr, hr=hr))
            for sr, lr, hr in zip(
                *map(_quarters, (probe.sr, probe.batch.lr, probe.batch.hr)), strict=True
            )
        ]
        whole, gradient = probe.at(probe.sr)
    except UnsuitableInput:
        return  # this loss needs patches of this size: there is nothing to compare with
    # A mean over pixels is the mean of its quarters, and so is its gradient.
    mean = torch.stack([value for value, _ in quarters]).mean()
    together = torch.stack([slope.norm() for _, slope in quarters]).norm() / 4
    for what, ratio in (
        ("value", _ratio(whole, mean)),
        ("gradient", _ratio(gradient.norm(), together)),
    ):
        if ratio is not None and not 1 / _SAME_SCALE < ratio < _SAME_SCALE:
            yield _warning(
                probe,
                "patch-size",
                f"its {what} on {side} px is {ratio:.3g} times that on {side // 2} px, so a weight found "
                "here is wrong at any other patch size; use a mean (an orthonormal transform, a Gram "
                "matrix divided by CHW)",
            )
            return


def batch_dependence(probe: Probe) -> Iterator[LintFinding]:
    """A batch that is worth more or less than the mean of its images."""
    count = len(probe.batch.hr)
    if count == 1 or probe.batch.windows is not None:
        return
    with torch.no_grad():
        whole = float(probe.evaluate(probe.sr, probe.batch))
        parts = [
            float(probe.evaluate(probe.sr[i : i + 1], _only(probe.batch, i))) for i in range(count)
        ]
    alone = math.fsum(parts) / count
    if abs(whole - alone) > _ROUNDING * max(abs(whole), abs(alone), 1e-12):
        yield LintFinding(
            rule="batch",
            term=probe.key,
            severity=Severity.NOTE,
            message=f"a batch of {count} is worth {whole:.4g}, its images one by one {alone:.4g} on average: "
            "what one image counts depends on the others, so the batch size is part of the weight",
        )


def half_precision(probe: Probe) -> Iterator[LintFinding]:
    """bfloat16 that overflows, or turns the gradient elsewhere; a note where it is not used."""
    severity = Severity.WARNING if probe.half else Severity.NOTE
    with torch.autocast(probe.batch.hr.device.type, dtype=torch.bfloat16):
        value, rough = probe.at(probe.sr)
    _, exact = probe.at(probe.sr)
    cosine = float(F.cosine_similarity(rough.flatten(), exact.flatten(), dim=0))
    if not (torch.isfinite(value) and torch.isfinite(rough).all()):
        said = f"its value is {float(value):.4g} and its gradient not finite"
    elif float(exact.norm()) > 0 and cosine < _SAME_DIRECTION:
        said = f"its gradient points elsewhere (cosine {cosine:.2f} with float32)"
    else:
        return
    message = f"in bfloat16 {said}; keep training.dtype at float32 for this term"
    yield LintFinding(rule="bfloat16", term=probe.key, severity=severity, message=message)


def silent_cost(probe: Probe) -> Iterator[LintFinding]:
    """Weights of zero inside a term whose features are computed all the same."""
    weights = getattr(probe.loss, "weights", None)
    asked = set(getattr(probe.loss, "layers", ()))
    if not isinstance(weights, Mapping):
        return  # other losses call other things so
    idle = [name for name, weight in weights.items() if weight == 0 and name in asked]
    if idle:
        yield _warning(
            probe,
            "zero-weight",
            f"{', '.join(idle)} has weight 0 and is computed at every step; leave it out",
        )


RULES: tuple[Rule, ...] = (
    gradient_at_the_start,
    gradient_at_equal_images,
    dead_zone,
    patch_size,
    batch_dependence,
    half_precision,
    silent_cost,
)


def _error(probe: Probe, rule: str, message: str) -> LintFinding:
    return LintFinding(rule=rule, term=probe.key, severity=Severity.ERROR, message=message)


def _warning(probe: Probe, rule: str, message: str) -> LintFinding:
    return LintFinding(rule=rule, term=probe.key, severity=Severity.WARNING, message=message)


def _ratio(whole: Tensor, parts: Tensor) -> float | None:
    """How many times `parts` is in `whole`; None where there is nothing to divide."""
    if float(parts.abs()) < 1e-12 or not math.isfinite(float(whole)):
        return None
    return abs(float(whole) / float(parts))


def _quarters(images: Tensor) -> list[Tensor]:
    """Cut (N, C, H, W) into its four quarters."""
    return [quarter for half in images.chunk(2, dim=-2) for quarter in half.chunk(2, dim=-1)]


def _only(batch: Batch, index: int) -> Batch:
    one = slice(index, index + 1)
    labels = None if batch.labels is None else batch.labels[one]
    return batch._replace(lr=batch.lr[one], hr=batch.hr[one], labels=labels)
