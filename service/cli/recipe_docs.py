"""Writes docs/recipes.md from the recipes, so that the page says what the library has."""

from __future__ import annotations

import sys
from pathlib import Path

from losses import RECIPES, Recipe, RecipeTerm
from service.cli.recipe_tables import parameters

_INTRODUCTION = """\
# Recipes: published weights in our losses

<!-- Written by `python -m service.cli.recipe_docs docs/recipes.md`; edit losses/recipes instead. -->

The same name differs by orders of magnitude between papers, because the terms' conventions differ:
mean or sum, before or after ReLU, 0..1 or 16..235. A recipe therefore keeps both, what its authors
wrote (*original*) and which of our losses with which parameters is equal to it (*here*). Where a
convention cannot be had by parameters, the weight is translated: **weight = published × factor**.

`tests/losses/test_recipes.py` writes each original again in plain PyTorch from its authors' definition
and compares: every term here, the weighted total and its gradient by SR equal it to 1e-6, and
`test_recipes_discriminators.py` the same for what the discriminator minimises. The exceptions are the
terms that say how they *differ*. What besides the losses made a published result (data, networks,
averages) is listed under each recipe and is not translated.

`srtune recipes NAME` shows one; `search.recipes` of a study tries them first, on the study's own terms,
and notes where these have other conventions than the recipe.
"""

_LEFT_OUT = """\
## Looked at and left out

| recipe | why |
|---|---|
| SROOE | its configuration has ESRGAN's weights; what is new is the map of per-pixel objectives |
| EDVR with a GAN | its configuration in BasicSR calls itself unfinished |
| DIC-GAN, HiFaceGAN, TTSR, GLEAN | need LightCNN features, multi-scale discriminator features or a reference image |
| RankSRGAN | its ranker's weights cannot be had |
| TensorLayer's SRGAN | its VGG term (2e-6) belongs to that framework's own VGG19 and reductions |
| opensr-srgan, traiNNer-redux and neosr for SPAN | spectral angle, HSLuv, DINOv2 features: losses the library lacks |
| Super-FAN, SRFeat | weights not found in a source that could be opened |
"""


def page() -> str:
    """The whole page as Markdown."""
    sections = [_section(recipe) for recipe in RECIPES.values()]
    return "\n".join([_INTRODUCTION, _overview(), *sections, _LEFT_OUT])


def _overview() -> str:
    rows = [
        f"| [{recipe.name}](#{recipe.name}) | {_weights(recipe)} | {_cell(recipe.source)} |"
        for recipe in RECIPES.values()
    ]
    head = "| recipe | weights here | source |\n|---|---|---|"
    return "\n".join([head, *rows, "", "\\* differs from the original, as said below.", ""])


def _weights(recipe: Recipe) -> str:
    return ", ".join(
        f"{term.loss} {term.weight:.4g}" + (r"\*" if term.note else "") for term in recipe.terms
    )


def _section(recipe: Recipe) -> str:
    head = "| term | published | factor | weight | here | original |\n|---|---:|---:|---:|---|---|"
    rows = [_row(term) for term in recipe.terms]
    lost = [f"- `{term.loss}` differs: {term.note}." for term in recipe.terms if term.note]
    notes = [f"- {note}" for note in recipe.notes]
    told = [*lost, *notes]
    lines = [
        f"## {recipe.name}\n",
        f"{recipe.summary}\n",
        f"Source: {recipe.source}.\n",
        head,
        *rows,
    ]
    return "\n".join([*lines, "", *told, *([""] if told else [])])


def _row(term: RecipeTerm) -> str:
    cells = [
        f"`{term.loss}`",
        f"{term.weight / term.factor:.4g}",
        f"{term.factor:.4g}",
        f"{term.weight:.4g}",
        _cell(parameters(term.parameters) or "defaults"),
        _cell(term.original),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Text with what would break a table or be taken for emphasis escaped."""
    for sign in ("|", "*", "_", "<"):
        text = text.replace(sign, f"\\{sign}")
    return text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
