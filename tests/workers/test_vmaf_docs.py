"""docs/vmaf.md says what the code does: its examples run, and its table and maps are the metric's."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.vmaf_maps import NEG, PLAIN, detail, dlm, information
from benchmarks.vmaf_pictures import scene, scores
from workers.metrics._still import luma
from workers.metrics.vmaf import clip_scores

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "vmaf.md").read_text(encoding="utf-8")
PICTURES = DOCS / "pictures" / "vmaf"
FIGURES: dict[str, dict[str, float]] = json.loads((PICTURES / "figures.json").read_text())


def test_examples_print_what_the_page_says() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "vmaf.md", None, 0)
    told: list[str] = []
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.DocTestRunner(optionflags=flags).run(examples, out=told.append)
    assert found.attempted > 10
    assert not found.failed, "".join(told)


def _rows() -> list[tuple[str, list[str]]]:
    rows = []
    for name, values in FIGURES.items():
        vmaf, neg = values["vmaf"], values["vmaf_neg"]
        cells = [f"{vmaf:.1f}", f"{neg:.1f}", f"{vmaf - neg:.1f}"]
        rows.append((name, [*cells, f"{values['psnr_y']:.2f}", f"{values['ssim_y']:.3f}"]))
    return rows


@pytest.mark.parametrize(("name", "cells"), _rows())
def test_table_of_sharpening_is_what_was_measured(name: str, cells: list[str]) -> None:
    assert f"| {name} | {' | '.join(cells)} |" in PAGE


def test_measured_figures_are_todays() -> None:
    _, sr = scene()
    found = scores(sr, *FIGURES["bicubic ×4"])
    assert found == pytest.approx(FIGURES["bicubic ×4"], abs=2e-4)


@pytest.mark.parametrize(("limit", "suffix"), [(PLAIN, ""), (NEG, "_neg")])
def test_maps_add_up_to_the_exact_parts(limit: float, suffix: str) -> None:
    y, x = (luma(image.double()).round() for image in scene())
    ref, dis = (z.byte()[None, None] for z in (y, x))
    exact = clip_scores([(ref, dis)], still=True, engine="torch").frames
    for scale, bits in enumerate(information(y, x, limit=limit)):
        assert bits.score == pytest.approx(exact[f"vif_scale{scale}{suffix}"][0], abs=1e-3)
    assert dlm(detail(y, x, limit=limit)) == pytest.approx(exact[f"adm2{suffix}"][0], abs=1e-3)


def test_pictures_of_the_page_are_there_and_light() -> None:
    linked = re.findall(r"\]\(pictures/vmaf/(\w+\.png)\)", PAGE)
    assert set(linked) == {path.name for path in PICTURES.glob("*.png")}
    for name in linked:
        assert (PICTURES / name).stat().st_size <= 80_000
        with Image.open(PICTURES / name) as picture:
            assert picture.width <= 1000
