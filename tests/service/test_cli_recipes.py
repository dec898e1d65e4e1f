"""`srtune recipes` and its page: weights never without their conventions, nor without what is lost."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console, RenderableType

from service.cli import recipe_docs, recipe_tables
from service.contract.vocabulary import Recipe, RecipeTerm

PAGE = Path(recipe_docs.__file__).parents[2] / "docs" / "recipes.md"

PAPER = Recipe(
    name="paper",
    summary="A paper.",
    source="its table 2",
    terms=[
        RecipeTerm(loss="l1", weight=0.5, original="L1Loss(0.5)"),
        RecipeTerm(
            loss="content",
            weight=0.006,
            factor=0.006,
            parameters={"layers": {"conv5_4": 1.0}, "criterion": "l2", "halve": False},
            original="features over 12.75",
            note="ours sees RGB",
        ),
    ],
    notes=["HR was sharpened."],
)


def _shown(renderable: RenderableType) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=100).print(renderable)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_recipe_is_shown_with_both_conventions_its_factor_and_its_losses() -> None:
    assert _shown(recipe_tables.recipe(PAPER)) == [
        "name     paper",
        "summary  A paper.",
        "source   its table 2",
        "",
        "l1 0.5",
        "  here      as it is by default",
        "  original  L1Loss(0.5)",
        "",
        "content 0.006 = 1 published × 0.006",
        "  here      layers (conv5_4 1), criterion l2, halve no",
        "  original  features over 12.75",
        "  differs   ours sees RGB",
        "",
        "beside the losses",
        "  -  HR was sharpened.",
    ]


def test_the_list_marks_terms_that_stand_for_another_convention() -> None:
    exact = PAPER.model_copy(update={"name": "exact", "terms": PAPER.terms[:1]})
    lines = _shown(recipe_tables.published([PAPER, exact]))
    assert [line.split("  ")[0] for line in lines[:3]] == ["recipe", "paper", "exact"]
    assert "l1 0.5, content 0.006*" in lines[1]
    assert lines[3] == "* stands for another convention; `srtune recipes NAME` says which"
    assert len(_shown(recipe_tables.published([exact]))) == 2


def test_recipes_page_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == recipe_docs.page(), "run `python -m service.cli.recipe_docs docs/recipes.md`"
