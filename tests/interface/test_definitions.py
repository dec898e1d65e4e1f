"""Whatever is sent as a study: it is refused with reasons, or stored so that it can be trained."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from pydantic import TypeAdapter

from service.contract.study import StudyDefinition
from service.contract.trial import Lease, StudyView
from service.models import Study
from tests.interface.conftest import small
from tests.interface.site import Site
from tests.interface.spoiling import spoilt

FEW, MANY = 60, 5000
_JSON = {"content-type": "application/json"}
_LEASES = TypeAdapter(list[Lease])
_numbers = itertools.count()


def _judge(site: Site, sent: bytes) -> bool:
    """Send a definition; whether it was stored, and then so that a worker can begin with it."""
    checked = site.ask("POST", "/api/v1/studies/validate", content=sent, headers=_JSON)
    answer = site.ask("POST", "/api/v1/studies", content=sent, headers=_JSON)
    assert answer.status_code in (201, 413, 422), answer.text
    if answer.status_code != 201:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]
        assert checked.status_code == answer.status_code or (
            [found["path"] for found in checked.json()]
            == [found["path"] for found in problem["problems"]]
        )
        return False
    assert checked.json() == []
    view = StudyView.model_validate_json(answer.content)
    with site.service.database.reading() as session:
        stored = session.get_one(Study, view.id)
        again = StudyDefinition.model_validate_json(json.dumps(stored.definition, allow_nan=False))
    assert again == view.definition
    _begun(site, again, view.id)
    assert site.ask("GET", f"/api/v1/studies/{view.id}").content
    site.told("DELETE", f"/studies/{view.id}")
    return True


def _begun(site: Site, definition: StudyDefinition, study: str) -> None:
    """A worker that fits gets the start job, as JSON that it can read."""
    memory = int(definition.memory_gb * 1e9) + 10**9
    registration = {
        "name": f"worker{next(_numbers)}",
        "devices": [{"kind": "cuda", "name": "gpu", "memory": memory}],
        "labels": definition.labels,
    }
    worker = site.told("POST", "/workers", json=registration)["id"]
    answer = site.ask("POST", "/api/v1/leases", json={"worker": worker})
    [lease] = _LEASES.validate_json(answer.content)
    assert lease.job.study_id == study
    assert lease.job.definition == definition


def _fuzz(site: Site, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sent=spoilt(small()))
    @example(sent=json.dumps(small()).encode())
    def judged(sent: bytes) -> None:
        _judge(site, sent)

    judged()


def test_a_spoilt_definition_is_refused_or_can_be_trained(site: Site) -> None:
    assert _judge(site, json.dumps(small()).encode())
    _fuzz(site, FEW)


@pytest.mark.long
def test_five_thousand_spoilt_definitions_are_refused_or_can_be_trained(site: Site) -> None:
    _fuzz(site, MANY)


def _with(path: str, literal: str) -> bytes:
    """The valid definition with one place written so."""
    document: Any = small()
    *above, last = path.split(".")
    part = document
    for name in above:
        part = part[int(name) if name.isdecimal() else name]
    part[last] = "@"
    return json.dumps(document).replace('"@"', literal).encode()


#: Where parsers, validators or databases are known to give up.
_BREAKERS = [
    ("training.steps", "9" * 400),
    ("training.steps", "9" * 5000),
    ("training.optimizer.lr", "1e999"),
    ("training.warmup.steps", str(2**64)),
    ("search.startup", str(2**70)),
    ("pruning.trials", "9" * 30),
    ("budget.gpu_hours", "1e308"),
    ("budget.gpu_hours", "NaN"),
    ("max_running", str(2**40)),
    ("weight", "-Infinity"),
    ("name", r'"a\u0000b"'),
    ("name", r'"small\n"'),
    ("description", r'"a\u0000b"'),
    ("description", r'"\ud800"'),
    ("labels", r'{"\u0000": "\ud800"}'),
    ("data.train", r'["/photos/\u0000"]'),
    ("data.train", r'["\udfff"]'),
    ("model.parameters", '{"width": NaN}'),
    ("model.parameters", '{"width": 1e999}'),
    ("losses.1.parameters", '{"mix": ' + '{"a":' * 300 + "1" + "}" * 301),
    ("losses.1.parameters", '{"mix": ' + '{"a":' * 20_000 + "1" + "}" * 20_001),
    ("losses.1.parameters", '{"layers": [NaN, 1e999, "\\ud800", "\\u0000"]}'),
    ("losses.1.parameters", '{"features": "os:system", "kind": "builtins:eval"}'),
    ("losses.1.weight", "9" * 400),
    ("losses.1.share", "[1e-320, 5e-324]"),
    ("data.classes", r'{"a\u0000": ["x"], "b": ["\ud800"]}'),
]


def test_what_breaks_parsers_and_databases_breaks_nothing_here(site: Site) -> None:
    broken = []
    for path, literal in _BREAKERS:
        try:
            _judge(site, _with(path, literal))
        except AssertionError as error:
            broken.append(f"{path} = {literal[:60]}: {str(error)[:300]}")
    assert not broken, "\n".join(broken)
