"""What is wrong with a study's search space, before anything is stored."""

from __future__ import annotations

from service.contract.errors import Problem
from service.contract.study import StudyDefinition, Term
from service.contract.vocabulary import Vocabulary
from service.tuner.simplex import SLACK
from service.tuner.terms import searched_terms, share_range


def check_space(definition: StudyDefinition, vocabulary: Vocabulary) -> list[Problem]:
    """Every reason why this space cannot be searched; empty when it can.

    Losses the vocabulary does not know are somebody else's problem: nothing is said then.
    """
    if any(term.loss not in vocabulary.losses for term in definition.losses):
        return []
    problems: list[Problem] = []
    searched = searched_terms(definition, vocabulary)
    if all(term.optional for term in searched):
        problems.append(
            Problem(
                path="losses",
                message="every searched term is optional, so a trial could have none; "
                "make one of them not optional",
            )
        )
    elif definition.search.space == "shares":
        problems += _check_shares(definition, searched, vocabulary)
    return problems


def _check_shares(
    definition: StudyDefinition, searched: list[Term], vocabulary: Vocabulary
) -> list[Problem]:
    if len(searched) == 1:
        key = searched[0].key
        return [
            Problem(
                path="search.space",
                message=f"{key} is the only searched term, so its share is always 1; search a "
                f"second term, or set space to weights",
                value="shares",
                allowed=["weights"],
            )
        ]
    problems = []
    ranges = {term.key: share_range(term, vocabulary) for term in searched}
    if (least := sum(low for low, _ in ranges.values())) >= 1.0 - SLACK:
        message = f"the low ends of the shares ({_told(ranges, 0)}) add up to {least:.4g}"
        problems.append(
            Problem(path=_path(definition, searched), message=f"{message}; bring them below 1")
        )
    if (most := _highest(searched, ranges)) < 1.0 - SLACK:
        message = (
            f"the high ends of the shares ({_told(ranges, 1)}) add up to no more than {most:.4g} "
            f"when optional terms are off"
        )
        problems.append(
            Problem(path=_path(definition, searched), message=f"{message}; bring them to 1 or more")
        )
    return problems


def _highest(searched: list[Term], ranges: dict[str, tuple[float, float]]) -> float:
    """Sum of the high ends over the fewest terms that share: one alone has everything."""
    needed = [ranges[t.key][1] for t in searched if not t.optional]
    optional = sorted(ranges[t.key][1] for t in searched if t.optional)
    return sum(needed) if len(needed) > 1 else sum(needed) + optional[0]


def _told(ranges: dict[str, tuple[float, float]], end: int) -> str:
    return ", ".join(f"{key} {pair[end]:.4g}" for key, pair in ranges.items())


def _path(definition: StudyDefinition, searched: list[Term]) -> str:
    """The first range its author wrote; the list of losses when all are defaults."""
    written = next((term for term in searched if term.share is not None), None)
    return "losses" if written is None else f"losses[{definition.losses.index(written)}].share"
