"""Every operation of the document, asked by everybody who may not."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from service.contract.access import IMPLIED, Scope
from tests.interface.operations import OF_OWNER, OF_WORKER, SCOPES, Operation, body, documented
from tests.interface.site import Scene, Site

Definition = dict[str, Any]
Ask = Callable[[Operation, str | None], httpx2.Response]
one_database = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def ask(site: Site, stage: Scene, definition: Definition) -> Ask:
    """Sends a request that is right in everything but who sends it (an `Authorization`)."""

    def send(operation: Operation, authorization: str | None) -> httpx2.Response:
        method, template = operation
        headers = {} if authorization is None else {"authorization": authorization}
        options = body(operation, stage, definition)
        path = stage.path(template)
        return site.ask(method, path, token=None, headers=headers, **options)

    return send


@one_database
def test_every_operation_of_the_document_is_written_down_with_its_scope(site: Site) -> None:
    assert documented(site.app) == set(SCOPES)


@one_database
def test_the_document_says_which_operations_need_a_token(site: Site) -> None:
    paths = site.app.openapi()["paths"]
    for (method, path), scope in SCOPES.items():
        assert ("security" in paths[path][method.lower()]) == (scope is not None), (method, path)


def _strangers(site: Site) -> dict[str, str | None]:
    expired = site.token(*Scope, valid_for=0.001)
    revoked = site.token(*Scope, owner="eve")
    [gone] = [each["id"] for each in site.told("GET", "/tokens") if each["owner"] == "eve"]
    site.told("DELETE", f"/tokens/{gone}")
    time.sleep(0.01)
    valid = site.token(*Scope)
    return {
        "none": None,
        "unknown": "Bearer srt_" + "x" * 43,
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
        "empty": "Bearer",
        "no scheme": valid,
        "another scheme": f"Digest {valid}",
        "broken basic": f"Basic {valid}",
        "token as user": "Basic " + base64.b64encode(f"{valid}:".encode()).decode(),
        "cut short": f"Bearer {valid[:-1]}",
        "upper case": f"Bearer {valid.upper()}",
        "too long": f"Bearer {valid}" + "x" * 4000,
        "digest instead": "Bearer " + "0" * 64,
    }


def test_whoever_is_not_known_hears_401_from_every_operation_and_changes_nothing(
    site: Site, ask: Ask
) -> None:
    strangers = _strangers(site)
    before = site.rows()
    for operation, scope in SCOPES.items():
        for who, authorization in strangers.items():
            answer = ask(operation, authorization)
            expected = 200 if scope is None else 401
            assert answer.status_code == expected, (operation, who, answer.text)
            if answer.status_code == 401:
                assert "www-authenticate" in answer.headers
                assert operation[0] == "HEAD" or answer.json()["error"] == "Unauthorized"
    assert site.rows() == before


def test_a_scope_allows_what_it_says_and_no_operation_beside(site: Site, ask: Ask) -> None:
    tokens = {scope: site.token(scope) for scope in Scope}
    before = site.rows()
    refused = 0
    for operation, needed in SCOPES.items():
        for scope, token in tokens.items():
            if needed is None or needed in IMPLIED[scope]:
                continue
            answer = ask(operation, f"Bearer {token}")
            assert answer.status_code == 403, (operation, scope, answer.text)
            assert operation[0] == "HEAD" or f"needs {needed}" in answer.json()["detail"]
            refused += 1
    assert refused > 40
    assert site.rows() == before


def test_what_is_somebody_else_s_is_not_changed(site: Site, stage: Scene, ask: Ask) -> None:
    before = site.rows()
    for operation, foreign in [
        *((operation, stage.bob) for operation in OF_OWNER),
        *((operation, stage.other) for operation in OF_WORKER),
    ]:
        answer = ask(operation, f"Bearer {foreign}")
        assert answer.status_code == 403, (operation, answer.text)
    assert site.rows() == before


#: These end what others are about, so they come last, in this order.
_LAST = ["failure", "release", "result", "stop", "delete"]


def _order(operation: Operation) -> int:
    words = [operation[0].lower(), operation[1].rpartition("/")[2]]
    return max((_LAST.index(word) + 1 for word in words if word in _LAST), default=0)


@one_database
@pytest.mark.parametrize("end", ["result", "failure", "release"])
def test_the_same_requests_are_granted_to_those_who_may(
    site: Site, stage: Scene, ask: Ask, end: str
) -> None:
    """Otherwise the refusals above could have another reason."""
    ends = {"result", "failure", "release"}
    drained = ("POST", "/api/v1/workers/{worker_id}/drain")
    for operation in sorted(SCOPES, key=_order):
        if operation[1].rpartition("/")[2] in ends - {end} or operation == drained:
            continue
        needed = SCOPES[operation]
        secret = {
            None: None, Scope.READ: site.token(Scope.READ), Scope.SUBMIT: stage.ann,
            Scope.WORKER: stage.gpu, Scope.ADMIN: site.token(Scope.ADMIN),
        }[needed]  # fmt: skip
        answer = ask(operation, None if secret is None else f"Bearer {secret}")
        assert answer.is_success, (operation, answer.text)
    assert ask(drained, f"Bearer {site.token(Scope.ADMIN)}").is_success
