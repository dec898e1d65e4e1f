"""The term everything is measured against."""

from __future__ import annotations

from service.contract.study import StudyDefinition, Term
from service.contract.vocabulary import Vocabulary


def reference_term(definition: StudyDefinition, vocabulary: Vocabulary) -> Term | None:
    """Return the first searched pixel loss: what the start trains on, and the unit of weights.

    None only for definitions that `contract.checking` refuses.
    """
    return next(
        (
            term
            for term in definition.losses
            if term.searched and vocabulary.losses[term.loss].family == "pixel"
        ),
        None,
    )
