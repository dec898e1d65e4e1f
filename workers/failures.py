"""Which cause an error of a training has, and the sentence people read."""

from __future__ import annotations

import torch

from losses import InvalidParameter, UnknownLoss, UnsuitableInput
from losses._features import UnsuitableWeights
from service.contract.trial import FailureCause
from workers.allowance import DataNotAllowed, WeightsNotAllowed
from workers.calibration import CalibrationFailed
from workers.checkpoint import FULL, DiskFull
from workers.data.decode import DataError
from workers.metrics import ImageUnusable, UnknownMetric
from workers.models import InvalidModelParameter, UnknownModel
from workers.suppliers import DefinitionError
from workers.trainer import Diverged
from workers.weights import UnknownWeights

_CAUSES: dict[type[BaseException], FailureCause] = {
    Diverged: FailureCause.DIVERGED,
    CalibrationFailed: FailureCause.DIVERGED,
    DataError: FailureCause.DATA,
    DataNotAllowed: FailureCause.DATA,
    ImageUnusable: FailureCause.DATA,
    DefinitionError: FailureCause.DEFINITION,
    WeightsNotAllowed: FailureCause.DEFINITION,
    UnknownLoss: FailureCause.DEFINITION,
    InvalidParameter: FailureCause.DEFINITION,
    UnsuitableInput: FailureCause.DEFINITION,
    UnsuitableWeights: FailureCause.DEFINITION,
    UnknownWeights: FailureCause.DEFINITION,
    UnknownModel: FailureCause.DEFINITION,
    InvalidModelParameter: FailureCause.DEFINITION,
    UnknownMetric: FailureCause.DEFINITION,
    DiskFull: FailureCause.STORAGE,
    MemoryError: FailureCause.OUT_OF_MEMORY,
    torch.OutOfMemoryError: FailureCause.OUT_OF_MEMORY,
}
#: What torch's CPU allocator says; it has no exception of its own.
_CPU_OUT_OF_MEMORY = "can't allocate memory"


def cause_of(error: BaseException) -> FailureCause:
    """Return why an attempt failed, which decides whether another is made."""
    for kind, cause in _CAUSES.items():
        if isinstance(error, kind):
            return cause
    if isinstance(error, RuntimeError) and _CPU_OUT_OF_MEMORY in str(error):
        return FailureCause.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in FULL:
        return FailureCause.STORAGE
    return FailureCause.ERROR


def sentence(error: BaseException, cause: FailureCause, step: int) -> str:
    """Return one sentence for people: what went wrong, and what would help."""
    said = str(error).strip().split("\n")[0] or type(error).__name__
    if cause is FailureCause.OUT_OF_MEMORY:
        return (
            f"not enough memory at step {step}: {said[:300]}; use smaller patches or batches, or a "
            "worker with more"
        )
    if cause is FailureCause.STORAGE and isinstance(error, OSError):
        return f"the disk of this worker is full ({said}); free some space"
    if cause is FailureCause.ERROR:
        return f"{type(error).__name__} at step {step}: {said}"[:2000]
    return said[:2000]
