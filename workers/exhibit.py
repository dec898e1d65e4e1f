"""What a generator makes of the validation images: figures for the search, pictures for people."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.study import StudyDefinition
from service.contract.trial import Metrics
from workers.checkpoint import TrainState
from workers.data.pairs import Whole
from workers.evaluate import metric_names, samples, score
from workers.tracking.images import png, sr_key, tile, tile_key
from workers.tracking.spool import Spool

#: Validation images shown in the lab book.
SHOWN = 3


def exhibited(
    state: TrainState,
    definition: StudyDefinition,
    images: Sequence[Whole],
    spool: Spool | None,
    *,
    final: bool,
) -> Metrics:
    """Return the scores of the present generator; its spool gets a table of all and some pictures."""
    scale, step = definition.data.scale, state.step
    table = score(state.scored, images, metric_names(definition, final=final), scale=scale)
    if spool is not None:
        spool.file(f"scores/step-{step:07d}.csv", table.csv())
        for photo, sample in enumerate(samples(state.scored, images[:SHOWN], scale=scale)):
            spool.image(
                tile_key(photo), step, tile(sample.lr, sample.bicubic, sample.sr, sample.hr)
            )
            spool.image(sr_key(photo), step, png(sample.sr))
    return table.means
