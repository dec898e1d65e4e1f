"""What a demo has found: front, choice, comparison with the recipes, in tables, pictures and words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from service.cli import recipe_tables, tables
from service.cli.output import number, plain
from service.client import Client
from service.contract.trial import Best, Front, StudyView, TrialView
from service.contract.vocabulary import Recipe, Vocabulary


@dataclass(frozen=True)
class Findings:
    """The end of a study, ready to be shown."""

    study: StudyView
    front: Front
    best: Best
    recipes: list[Recipe]
    sentences: list[str]
    pictures: list[Path]

    def shown(self, server: str, *, minutes: float) -> RenderableType:
        """Everything people read at the end of the demo."""
        complete = len(self.front.members) + len(self.front.dominated)
        title = f"Front: {len(self.front.members)} of {complete} complete trials"
        browse = [
            f"pictures   {' and '.join(str(picture) for picture in self.pictures)}",
            f"MLflow     {self.study.tracking_url or f'{server}/mlflow/'}",
            f"REST       {server}/docs",
        ]
        return Group(
            "",
            tables.front(self.front, title=title, chosen=self.best.trial.number),
            "",
            Text("Raw weights as trained here, at equal budget", style="bold"),
            tables.best(self.best, objectives=self.front.objectives),
            *(Padding(Text(line, style="dim"), (0, 0, 0, 2)) for line in notes(self.best)),
            "",
            Text("The same recipes as published, in their own conventions", style="bold"),
            recipe_tables.published(self.recipes),
            "",
            *(Text(sentence, style="bold") for sentence in self.sentences),
            "",
            *(Text(line, overflow="fold") for line in browse),
            f"time       {minutes:.1f} minutes",
        )

    def plain(self, server: str) -> dict[str, Any]:
        """The same for programs."""
        return {
            "study": plain(self.study),
            "front": plain(self.front),
            "best": plain(self.best),
            "sentences": self.sentences,
            "pictures": [str(picture) for picture in self.pictures],
            "service": server,
        }


def findings(client: Client, ref: str, folder: Path) -> Findings:
    """Read a study's results from the service, and draw front.png and comparison.png."""
    from service.cli.demo_pictures import draw_comparison
    from service.cli.demo_plots import draw_front

    study, front, best = client.study(ref), client.front(ref), client.best(ref)
    words = client.vocabulary()
    pictures = [
        draw_front(front, best, words, folder / "front.png"),
        draw_comparison(client, study, front, best, folder / "comparison.png"),
    ]
    wanted = study.definition.search.recipes
    return Findings(
        study=study,
        front=front,
        best=best,
        recipes=[words.recipes[name] for name in wanted if name in words.recipes],
        sentences=[*verdict(best, front, words)],
        pictures=pictures,
    )


def verdict(best: Best, front: Front, words: Vocabulary) -> Iterator[str]:
    """Whether the chosen weights beat plain L1 in perception, and each recipe in anything."""
    perception = [name for name in front.objectives if words.metrics[name].side == "perception"]
    if not best.baselines:
        yield "No baseline was completed, so there is nothing to compare the chosen weights with."
    for baseline in best.baselines:
        beaten = best.beats.get(baseline.origin, {})
        if baseline.uid == best.trial.uid:
            yield f"The chosen weights are those of {_said(baseline)}: the search found none better."
        elif tables.is_baseline(baseline):
            yield _against(
                best.trial, baseline, [m for m in perception if beaten.get(m)], perception
            )
        else:
            won = [metric for metric in front.objectives if beaten.get(metric)]
            yield _against(best.trial, baseline, won, front.objectives)


def notes(best: Best) -> Iterator[str]:
    """Where each recipe could not be followed to the letter with this study's terms."""
    for baseline in best.baselines:
        if baseline.note:
            yield f"{tables.label(baseline.origin)} here: {baseline.note}"


def _against(chosen: TrialView, baseline: TrialView, won: list[str], asked: list[str]) -> str:
    name = _said(baseline)
    if not won:
        figures = _figures(chosen, baseline, asked)
        return f"The chosen weights do NOT beat {name} in {' or '.join(asked)} ({figures})."
    return f"The chosen weights beat {name} in {' and '.join(won)} ({_figures(chosen, baseline, won)})."


def _said(baseline: TrialView) -> str:
    return (
        "plain L1" if tables.is_baseline(baseline) else f"{tables.label(baseline.origin)}'s weights"
    )


def _figures(chosen: TrialView, baseline: TrialView, metrics: list[str]) -> str:
    return ", ".join(
        f"{metric} {number(chosen.metrics.get(metric))} against {number(baseline.metrics.get(metric))}"
        for metric in metrics
    )
