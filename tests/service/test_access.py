"""Tokens, owners, keys and the audit log, as they are used over HTTP."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from service.client import Client
from service.contract.access import Caller, Quota, Scope, TokenRequest
from service.contract.errors import (
    Forbidden,
    KeyReused,
    OwnerNotFound,
    RateLimited,
    StudyNotFound,
    TokenNotFound,
    Unauthorized,
)
from service.contract.trial import (
    Calibration,
    EnqueueRequest,
    Heartbeat,
    LeaseRequest,
    Release,
    StudyState,
)
from service.contract.worker import Registration, WorkerState
from service.models import Idempotency, Study, Token, Trial, Worker
from service.ownership import check_speaks, take
from service.states import move_study
from service.tokens import create_token, revoke_token

Server = Any
Serve = Callable[..., Server]
Definition = dict[str, Any]
#: What does not depend on how a database locks is tried on one.
one_database = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def _token(server: Server, *scopes: Scope, owner: str = "ann", name: str = "t") -> str:
    with server.app.state.service.database.writing() as session:
        return create_token(session, name, list(scopes), owner=owner)


def _client(server: Server, *scopes: Scope, owner: str = "ann") -> Client:
    client: Client = server.client(token=_token(server, *scopes, owner=owner))
    return client


def _calibrate(server: Server, study: str) -> None:
    """As if the start job had been trained."""
    terms = {"l1": 1.0, "content": 1.0, "edge": 1.0}
    with server.app.state.service.database.writing() as session:
        row = session.get_one(Study, study)
        row.calibration = Calibration(norms=terms, values=terms, batches=8).model_dump(mode="json")


# -- tokens --------------------------------------------------------------------------------------


@one_database
def test_an_admin_makes_lists_and_revokes_tokens(serve: Serve) -> None:
    server = serve(token="root")
    admin = server.client(token="root")
    made = admin.create_token(
        TokenRequest(name="night", owner="ann", scopes=[Scope.SUBMIT], valid_hours=1.0)
    )
    assert made.secret.startswith("srt_")
    assert made.expires is not None
    assert made.expires - made.created == pytest.approx(3600.0)
    ann = server.client(token=made.secret)
    assert ann.studies() == []
    [listed] = admin.tokens()
    assert listed.model_dump() == made.model_dump(exclude={"secret"})
    with pytest.raises(Forbidden, match="needs admin"):
        ann.tokens()
    admin.revoke_token(made.id)
    with pytest.raises(Unauthorized, match="was revoked"):
        ann.studies()
    admin.revoke_token(made.id)
    with pytest.raises(TokenNotFound):
        admin.revoke_token("nobody")


@one_database
def test_a_new_token_is_for_one_pair_of_eyes(serve: Serve) -> None:
    server = serve(token="root")
    asked = {"name": "n", "scopes": ["read"]}
    headers = {"authorization": "Bearer root", "idempotency-key": "k"}
    first = server.http("POST", "/api/v1/tokens", json=asked, headers=headers)
    assert (first.status_code, first.headers["cache-control"]) == (201, "no-store")
    repeat = server.http("POST", "/api/v1/tokens", json=asked, headers=headers)
    assert (repeat.status_code, repeat.json()["error"]) == (409, "KeyReused")
    assert first.json()["id"] in repeat.json()["detail"]
    assert len(server.client(token="root").tokens()) == 1
    with server.app.state.service.database.reading() as session:
        [kept] = session.scalars(select(Idempotency))
        assert first.json()["secret"] not in str(kept.answer)


@one_database
def test_the_first_token_closes_the_door_at_once(serve: Serve) -> None:
    server = serve()
    assert server.client().studies() == []
    server.client().create_token(TokenRequest(name="first", scopes=[Scope.ADMIN]))
    with pytest.raises(Unauthorized):
        server.client().studies()


@one_database
@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "n"},
        {"name": "n", "scopes": []},
        {"name": "n", "scopes": ["root"]},
        {"name": "a b", "scopes": ["read"]},
        {"name": "n", "scopes": ["read"], "owner": "../x"},
        {"name": "n", "scopes": ["read"], "valid_hours": 0},
        {"name": "n", "scopes": ["read"], "valid_hours": 1e9},
    ],
)
def test_a_token_that_cannot_be_meant_is_refused(serve: Serve, wrong: dict[str, Any]) -> None:
    assert serve().http("POST", "/api/v1/tokens", json=wrong).status_code == 422


@one_database
def test_guessing_tokens_ends_in_waiting(serve: Serve) -> None:
    server = serve(token="root", guesses=5)
    server.client(token="root").studies()
    for number in range(6):
        with pytest.raises(Unauthorized):
            server.client(token=f"guess{number}").studies()
    with pytest.raises(RateLimited, match="too many wrong tokens"):
        _guess_until_locked(server)
    server.client(token="root").studies()


def _guess_until_locked(server: Server) -> None:
    for number in range(6, 30):
        with contextlib.suppress(Unauthorized):
            server.client(token=f"guess{number}").studies()


# -- owners --------------------------------------------------------------------------------------


def test_quotas_are_set_listed_and_removed(serve: Serve) -> None:
    admin = serve(token="root").client(token="root")
    quota = Quota(weight=2.0, max_running=4, gpu_hours=10.5)
    view = admin.set_quota("ann", quota)
    assert admin.set_quota("ann", quota) == view
    assert admin.quotas() == [view]
    assert (view.name, view.weight, view.max_running, view.gpu_hours) == ("ann", 2.0, 4, 10.5)
    admin.delete_quota("ann")
    admin.delete_quota("ann")
    assert admin.quotas() == []
    with pytest.raises(OwnerNotFound):
        admin._send("GET", "/owners/ann")


@one_database
def test_a_study_is_read_by_all_and_changed_by_its_owner_and_admins(
    serve: Serve, definition: Definition
) -> None:
    server = serve(token="root")
    ann, bob = (_client(server, Scope.SUBMIT, owner=name) for name in ("ann", "bob"))
    study = ann.submit(definition)
    assert study.owner == "ann"
    assert bob.study(study.id).id == study.id
    _calibrate(server, study.id)
    point = EnqueueRequest(weights={"l1": 1.0, "content": 0.1, "edge": 0.1})
    foreign: list[Callable[[], object]] = [
        lambda: bob.pause(study.id),
        lambda: bob.resume(study.id),
        lambda: bob.enqueue(study.id, point),
        lambda: bob.stop(study.id),
        lambda: bob.delete(study.id),
    ]
    for change in foreign:
        with pytest.raises(Forbidden, match="belongs to ann"):
            change()
    assert ann.study(study.id).state is StudyState.ACTIVE
    assert [trial.number for trial in bob.trials(study.id)] == [0]
    # Another token of the same owner, and an admin's.
    assert _client(server, Scope.SUBMIT, owner="ann").pause(study.id).state is StudyState.PAUSED
    assert server.client(token="root").resume(study.id).state is StudyState.ACTIVE
    assert ann.enqueue(study.id, point).origin == "user"
    ann.delete(study.id)
    with pytest.raises(StudyNotFound):
        bob.study(study.id)


@one_database
def test_a_name_leads_to_the_newest_study_whoever_owns_it(
    serve: Serve, definition: Definition
) -> None:
    server = serve(token="root")
    ann, bob = (_client(server, Scope.SUBMIT, owner=name) for name in ("ann", "bob"))
    mine = ann.submit(definition)
    bob.submit(definition)
    with pytest.raises(Forbidden, match="belongs to bob"):
        ann.stop("small")
    assert ann.stop(mine.id).state is StudyState.STOPPED


def test_a_worker_is_spoken_for_by_its_token_until_that_is_worthless(serve: Serve) -> None:
    server = serve(token="root")
    database = server.app.state.service.database
    _token(server, Scope.WORKER, name="one")
    with database.writing() as session:
        worker = Worker(
            id="w1", name="gpu", devices=[], slots=1, state=WorkerState.ACTIVE, last_seen=0.0
        )
        one = Caller(_only_token_id(session), "ann", frozenset({Scope.WORKER}))
        two = Caller("t2", "bob", frozenset({Scope.WORKER}))
        admin = Caller("t3", "eve", frozenset(Scope))
        take(session, one, worker)
        check_speaks(one, worker)
        check_speaks(admin, worker)
        with pytest.raises(Forbidden, match="worker gpu registered with another token"):
            check_speaks(two, worker)
        with pytest.raises(Forbidden, match="belongs to a worker with another token"):
            take(session, two, worker)
        assert worker.token_id == one.id
        revoke_token(session, "one")
        session.flush()
        take(session, two, worker)
        check_speaks(two, worker)


@one_database
def test_a_worker_s_trials_are_told_about_with_its_token_only(
    serve: Serve, definition: Definition
) -> None:
    server = serve(token="root")
    one, two = (_client(server, Scope.WORKER) for _ in range(2))
    server.client(token="root").submit(definition)
    worker = one.register(Registration(name="gpu", devices=[])).id
    with pytest.raises(Forbidden, match="registered with another token"):
        two.lease(LeaseRequest(worker=worker))
    [lease] = one.lease(LeaseRequest(worker=worker))
    foreign: list[Callable[[], object]] = [
        lambda: two.heartbeat(lease.id, Heartbeat(token=lease.token, step=1)),
        lambda: two.release(lease.id, Release(token=lease.token)),
        lambda: two.register(Registration(name="gpu", devices=[])),
    ]
    for told in foreign:
        with pytest.raises(Forbidden):
            told()
    assert one.heartbeat(lease.id, Heartbeat(token=lease.token, step=1)).action == "continue"
    server.client(token="root").release(lease.id, Release(token=lease.token))
    actions = [entry.action for entry in server.client(token="root").audit()]
    assert actions == ["study.create"]


def _only_token_id(session: Any) -> str:
    found: str = session.scalars(select(Token.id)).one()
    return found


# -- keys ----------------------------------------------------------------------------------------


@one_database
def test_an_enqueued_point_is_queued_once_per_key(serve: Serve, definition: Definition) -> None:
    server = serve()
    client = server.client()
    study = client.submit(definition)
    _calibrate(server, study.id)
    point = EnqueueRequest(weights={"l1": 1.0, "content": 0.1, "edge": 0.1})
    first = client.enqueue(study.id, point, key="k")
    assert client.enqueue(study.id, point, key="k") == first
    other = EnqueueRequest(weights={"l1": 2.0, "content": 0.1, "edge": 0.1})
    with pytest.raises(KeyReused, match="another body"):
        client.enqueue(study.id, other, key="k")
    second = client.enqueue(study.id, other, key="k2")
    queued = [trial.number for trial in client.trials(study.id) if trial.origin == "user"]
    assert queued == [first.number, second.number]


@one_database
def test_the_repeat_of_a_deletion_does_not_delete_the_next_of_that_name(
    serve: Serve, definition: Definition
) -> None:
    client = serve().client()
    old, new = client.submit(definition), client.submit(definition)
    client.delete("small", key="k")
    client.delete("small", key="k")
    assert [study.id for study in client.studies()] == [old.id]
    assert old.id != new.id
    client.delete("small", key="k2")
    with pytest.raises(StudyNotFound):
        client.delete("small", key="k3")


@one_database
def test_a_key_is_its_caller_s_own_for_one_route(serve: Serve, definition: Definition) -> None:
    server = serve(token="root")
    ann, bob = (_client(server, Scope.SUBMIT, owner=name) for name in ("ann", "bob"))
    mine = ann.submit(definition, key="k")
    assert ann.submit(definition, key="k") == mine
    assert bob.submit(definition, key="k").id != mine.id
    ann.delete(mine.id, key="k")
    # The order of fields is no other body.
    backwards = dict(reversed(definition.items()))
    assert ann.submit(backwards, key="k") == mine


def test_of_requests_with_one_key_that_come_together_one_acts(
    serve: Serve, definition: Definition
) -> None:
    server = serve()
    clients = [server.client() for _ in range(8)]
    together = threading.Barrier(len(clients))

    def submit(client: Client) -> str:
        together.wait()
        return client.submit(definition, key="k").id

    with ThreadPoolExecutor(len(clients)) as pool:
        ids = set(pool.map(submit, clients))
    assert len(ids) == 1
    with server.app.state.service.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 1
        assert session.scalar(select(func.count()).select_from(Trial)) == 1


@one_database
def test_what_was_refused_is_not_remembered(serve: Serve, definition: Definition) -> None:
    server = serve()
    client = server.client()
    study = client.submit(definition)
    point = EnqueueRequest(weights={"l1": 1.0, "content": 0.1, "edge": 0.1})
    refused = server.http(
        "POST",
        f"/api/v1/studies/{study.id}/trials",
        json=point.model_dump(mode="json"),
        headers={"idempotency-key": "k"},
    )
    assert refused.status_code == 409
    _calibrate(server, study.id)
    assert client.enqueue(study.id, point, key="k").origin == "user"


# -- the audit log -------------------------------------------------------------------------------


def test_every_change_of_state_is_written_down_once(serve: Serve, definition: Definition) -> None:
    server = serve(token="root")
    admin = server.client(token="root")
    made = admin.create_token(TokenRequest(name="n", owner="ann", scopes=[Scope.SUBMIT]))
    ann = server.client(token=made.secret)
    study = ann.submit(definition, key="k")
    ann.submit(definition, key="k")
    ann.pause(study.id)
    ann.pause(study.id)
    admin.resume(study.id)
    ann.stop(study.id)
    ann.delete(study.id)
    admin.set_quota("ann", Quota(max_running=1))
    admin.delete_quota("ann")
    admin.delete_quota("ann")
    admin.revoke_token(made.id)
    admin.revoke_token(made.id)
    log = admin.audit()
    assert [(entry.actor, entry.owner, entry.action) for entry in reversed(log)] == [
        ("operator", "operator", "token.create"),
        (made.id, "ann", "study.create"),
        (made.id, "ann", "study.paused"),
        ("operator", "operator", "study.active"),
        (made.id, "ann", "study.stopped"),
        (made.id, "ann", "study.delete"),
        ("operator", "operator", "owner.set"),
        ("operator", "operator", "owner.delete"),
        ("operator", "operator", "token.revoke"),
    ]
    assert made.secret not in str(log)
    assert {entry.subject for entry in admin.audit(subject=study.id)} == {study.id}
    assert len(admin.audit(subject=study.id)) == 5
    with pytest.raises(Forbidden):
        _client(server, Scope.SUBMIT, Scope.WORKER).audit()


@one_database
def test_a_change_that_was_rolled_back_is_not_in_the_log(
    serve: Serve, definition: Definition
) -> None:
    server = serve()
    client = server.client()
    study = client.submit(definition)
    client.stop(study.id)
    assert server.http("POST", f"/api/v1/studies/{study.id}/pause").status_code == 409
    assert [entry.action for entry in client.audit()] == ["study.stopped", "study.create"]


@one_database
def test_an_end_that_the_service_made_is_in_the_log(serve: Serve, definition: Definition) -> None:
    server = serve()
    client = server.client()
    study = client.submit(definition)
    with server.app.state.service.database.writing() as session:
        row = session.get_one(Study, study.id)
        move_study(session, row, StudyState.FAILED, "the start job failed: it broke")
    entry = client.audit(subject=study.id)[0]
    assert (entry.actor, entry.action) == ("service", "study.failed")
    assert "it broke" in entry.detail


@one_database
def test_the_log_is_read_page_by_page(serve: Serve) -> None:
    server = serve()
    for number in range(7):
        server.client().set_quota(f"owner{number}", Quota())
    seen, cursor = [], None
    while True:
        query = f"?limit=3&cursor={cursor}" if cursor else "?limit=3"
        page = server.http("GET", f"/api/v1/audit{query}").json()
        seen += [entry["subject"] for entry in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"owner{number}" for number in reversed(range(7))]
    for wrong in ("x", "-1", "9" * 30, "١"):
        assert server.http("GET", f"/api/v1/audit?cursor={wrong}").status_code == 422
    assert time.time() - server.client().audit()[0].at < 60.0


@one_database
def test_a_client_that_asks_too_often_is_slowed_down_and_not_failed(serve: Serve) -> None:
    server = serve(rate=0.5)
    begun = time.monotonic()
    with Client(server.url, patience=60.0) as patient:
        for _ in range(4):
            patient.studies()
    # Two at once, then each has to wait as long as the service said.
    assert time.monotonic() - begun > 1.5
    with pytest.raises(RateLimited, match="slow down"):
        _ask_for_ever(server.client())


def _ask_for_ever(client: Client) -> None:
    while True:
        client.studies()
