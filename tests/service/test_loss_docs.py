"""docs/losses.md is what the register and the stored reference values say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import losses
from benchmarks.loss_pictures import VIEWS
from service.cli import loss_docs
from service.cli.loss_docs.sources import PICTURES, measured, notes
from tests.service.loss_cases import case_ids, given, stored, tolerance

PAGE = Path(loss_docs.__file__).parents[3] / "docs" / "losses.md"
ROWS = [row for peer in loss_docs.peers() for row in peer.rows]
#: Each proof once, however many code bases share the convention.
PROVEN = {f"{row.call} {case}": (row, case) for row in ROWS for case in row.cases}
#: Losses that equal images alone give a value.
WITHOUT_NETWORK = [
    spec.name
    for spec in losses.SPECS.values()
    if spec.compares
    and set(spec.needs) <= {"averaged"}
    and not isinstance(notes()[spec.name].equal, str)  # said in words where images differ a little
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def written() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_losses_page_is_up_to_date(written: str) -> None:
    assert written == loss_docs.page(), "run `python -m service.cli.loss_docs docs/losses.md`"


def test_every_loss_has_a_section_notes_and_a_picture(written: str) -> None:
    assert set(notes()) == set(VIEWS) == set(measured("figures.json")) == set(losses.SPECS)
    for name in losses.SPECS:
        assert f"\n### {name}\n" in written
        with Image.open(PICTURES / f"{name}.png") as picture:
            assert picture.width > picture.height
        assert (PICTURES / f"{name}.png").stat().st_size <= 60_000


@pytest.mark.parametrize("name", losses.SPECS)
def test_figures_belong_to_the_settings_that_are_drawn(name: str) -> None:
    drawn = [(view.title, view.parameters) for view in VIEWS[name]]
    assert [(f["view"], f["parameters"]) for f in measured("figures.json")[name]] == drawn


@pytest.mark.parametrize("name", WITHOUT_NETWORK)
def test_value_for_equal_images_is_what_the_page_says(name: str) -> None:
    loss = losses.build(name)
    images = torch.rand(1, 3, 176, 176, generator=torch.Generator().manual_seed(1))
    needs = dict.fromkeys(losses.needs_of(loss), images)
    assert float(loss(images, images, **needs)) == pytest.approx(notes()[name].equal, abs=1e-5)


def test_examples_of_the_page_run(written: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", written, flags=re.DOTALL)
    assert len(blocks) >= 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["sr"].grad.abs().sum() > 0
    (study,) = re.findall(r"```yaml\n(.*?)```", written, flags=re.DOTALL)
    for term in yaml.safe_load(study)["losses"]:
        losses.build(term["loss"], **term.get("parameters", {}))


def test_every_call_the_page_shows_builds(written: str) -> None:
    calls = re.findall(r'`(losses\.build\("[^`]*\))`', written)
    assert len(calls) > 100
    for text in calls:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        parameters = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        losses.build(*(ast.literal_eval(name) for name in call.args), **parameters)


def test_a_convention_is_either_built_or_refused_with_a_reason() -> None:
    assert [row.theirs for row in ROWS if bool(row.loss) == bool(row.never)] == []


@pytest.mark.parametrize("proof", PROVEN)
def test_a_proven_line_builds_what_gives_the_stored_value(proof: str) -> None:
    row, case = PROVEN[proof]
    loss = losses.build(row.loss, **row.parameters)
    assert given(case, loss) == pytest.approx(stored(case), rel=tolerance(case))


def test_every_stored_value_of_a_loss_is_on_the_page() -> None:
    # Parts and sums of losses, and what is no loss.
    others = {"gram_basicsr", "composite_esrgan_like", "balance_dwa_T2"}
    wanted = {case for case in case_ids() if not case.startswith("metric_")} - others
    assert wanted == {case for _, case in PROVEN.values()}
