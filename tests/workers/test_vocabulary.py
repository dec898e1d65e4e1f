"""The catalogue says what the registries know."""

from __future__ import annotations

import losses
from service.contract.study import StudyDefinition
from service.contract.vocabulary import Vocabulary
from workers import metrics, models
from workers.vocabulary import vocabulary


def test_everything_registered_is_in_it_and_it_crosses_http() -> None:
    found = vocabulary()
    assert found.losses.keys() == losses.SPECS.keys()
    assert found.models.keys() == models.SPECS.keys()
    assert found.metrics.keys() == metrics.SPECS.keys()
    assert {"srgan", "esrgan"} <= found.recipes.keys()
    assert Vocabulary.model_validate_json(found.model_dump_json()) == found


def test_parameters_keep_ranges_and_choices() -> None:
    kinds = {p.name: p for p in vocabulary().losses["adversarial"].parameters}
    assert "relativistic" in kinds["kind"].choices
    assert vocabulary().losses["content"].needs == ["features"]


def test_needs_of_some_settings_are_told_apart_from_those_of_all() -> None:
    found = vocabulary().losses["adversarial"]
    assert found.needs == ["discriminator"]
    assert found.may_need == ["features", "labels", "step"]


def test_default_objectives_and_metrics_of_a_study_exist() -> None:
    fields = StudyDefinition.model_fields
    for field in ("objectives", "metrics"):
        names = fields[field].get_default(call_default_factory=True)
        assert set(names) <= vocabulary().metrics.keys()
