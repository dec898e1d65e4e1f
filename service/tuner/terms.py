"""Which terms of a study are searched, in which order and range."""

from __future__ import annotations

from service.contract.reference import reference_term
from service.contract.study import StudyDefinition, Term
from service.contract.vocabulary import Vocabulary

#: Shares below this are no share: the term would cost its time and move nothing.
LEAST_SHARE = 0.005


def searched_terms(definition: StudyDefinition, vocabulary: Vocabulary) -> list[Term]:
    """The searched terms, the reference first, the others as the study lists them."""
    searched = [t for t in definition.losses if t.searched]
    first = reference_term(definition, vocabulary)
    return sorted(searched, key=lambda t: t is not first)


def share_range(term: Term, vocabulary: Vocabulary) -> tuple[float, float]:
    """The range in which a term's share is searched; too small a low end counts as 0."""
    low, high = term.share or vocabulary.losses[term.loss].share
    return (low if low >= LEAST_SHARE else 0.0), high
