"""Requests made from the OpenAPI document, right ones and wrong ones, against the real service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode

from tests.interface.conftest import small, words
from tests.interface.operations import SCOPES, Operation, body
from tests.interface.site import ROOT, Scene, Site, running, scene

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = sorted(SCOPES)
FEW, MANY = 6, 2000


@dataclass
class Documented:
    """A site, and its document as schemathesis reads it."""

    site: Site
    document: Any
    definition: dict[str, Any]
    _unchanged: Scene | None = None

    def _about(self, *, changing: bool) -> Scene:
        """A scene of its own for whoever changes it; those who look share one."""
        about = self._unchanged or scene(self.site, self.definition)
        self._unchanged = None if changing else about
        return about

    def ask(self, operation: Operation, examples: int) -> None:
        """Send this operation requests of every kind; each answer is what the document promises."""
        method, template = operation
        about = self._about(changing=method not in ("GET", "HEAD"))
        found = self.document[template][method]
        right = body(operation, about, self.definition).get("json")

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=_cases(found), choices=st.data())
        def conforms(case: Any, choices: st.DataObject) -> None:
            _meet(case, about, right, choices)
            case.call_and_validate(
                checks=CHECKS, headers={"authorization": f"Bearer {ROOT}"}, timeout=60
            )

        conforms()

    def walk(self, examples: int, steps: int) -> None:
        """Sequences of operations, each about what one before it was answered."""
        about = scene(self.site, self.definition)

        class Walk(self.document.as_state_machine()):  # type: ignore[misc]  # made at run time
            def before_call(self, case: Any) -> None:
                if case.operation.label == "POST /api/v1/leases" and isinstance(case.body, dict):
                    case.body["worker"] = about.worker
                if "{ref}" in case.operation.path and "tokens" not in case.operation.path:
                    case.path_parameters["ref"] = about.study

            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                return {"headers": {"authorization": f"Bearer {ROOT}"}, "timeout": 60}

            def validate_response(self, response: Any, case: Any, **options: Any) -> None:
                case.validate_response(response, checks=CHECKS)

        Walk.run(
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
        )


def _cases(operation: Any) -> st.SearchStrategy[Any]:
    right: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not (operation.path_parameters or operation.query or operation.body):
        return right
    wrong: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    return right | wrong


def _meet(case: Any, about: Scene, right: Any, choices: st.DataObject) -> None:
    """Let most requests be about something that is there, and some bodies be nearly right."""
    for name in list(case.path_parameters or {}):
        if choices.draw(st.integers(0, 3), label=f"is {name} known") or case.path.endswith(
            "events"
        ):
            case.path_parameters[name] = about.path(case.operation.path).split("/")[
                case.operation.path.split("/").index(f"{{{name}}}")
            ]
    if isinstance(right, dict) and isinstance(case.body, dict):
        kept = choices.draw(st.sets(st.sampled_from(sorted(right))), label="right fields")
        case.body = {**case.body, **{name: right[name] for name in kept}}


@pytest.fixture(scope="module")
def documented(
    postgres_migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Documented]:
    """On PostgreSQL, which takes less than SQLite does: no NUL, no number over its type."""
    data = tmp_path_factory.mktemp("site")
    with running(postgres_migrated, words(), data, body_seconds=5.0) as site:
        document = schemathesis.openapi.from_url(f"{site.url}/openapi.json")
        plain = small() | {"losses": [{"loss": name} for name in ("l1", "content", "edge")]}
        yield Documented(site, document, plain)


@pytest.mark.postgres
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_an_operation_answers_as_its_document_says(
    documented: Documented, operation: Operation
) -> None:
    documented.ask(operation, FEW)


@pytest.mark.postgres
def test_operations_that_follow_each_other_answer_as_their_document_says(
    documented: Documented,
) -> None:
    documented.walk(examples=4, steps=8)


@pytest.mark.long
@pytest.mark.postgres
def test_a_thousand_sequences_answer_as_their_document_says(documented: Documented) -> None:
    documented.walk(examples=1000, steps=20)


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_an_operation_answers_as_its_document_says_two_thousand_times(
    documented: Documented, operation: Operation
) -> None:
    documented.ask(operation, MANY)
