"""Who may do what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from service import callers as callers_module
from service.callers import Callers
from service.contract.access import LOCAL, OPERATOR, Caller
from service.contract.errors import Forbidden, InvalidRequest, TokenNotFound, Unauthorized
from service.db import Database
from service.models import Token
from service.settings import Settings
from service.tokens import (
    Pass,
    Scope,
    check_binding,
    create_token,
    list_tokens,
    revoke_token,
)


def _settings(**changes: Any) -> Settings:
    return Settings(data=Path("/nowhere"), **changes)


def _recognised(database: Database, secret: str | None, **changes: Any) -> Pass:
    return asyncio.run(Callers(_settings(**changes), database).recognise(secret))


def _admitted(database: Database, secret: str | None, **changes: Any) -> Caller:
    return _recognised(database, secret, **changes).admitted()


def _make(database: Database, *scopes: Scope, name: str = "ann", **options: Any) -> str:
    with database.writing() as session:
        return create_token(session, name, list(scopes) or [Scope.READ], **options)


def _revoke(database: Database, name: str = "ann") -> None:
    with database.writing() as session:
        assert revoke_token(session, name)


@contextmanager
def _counted(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement != "BEGIN":
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


def test_on_loopback_no_token_is_needed_until_there_is_one(database: Database) -> None:
    assert _admitted(database, None) is LOCAL
    assert _admitted(database, "kept from elsewhere") is LOCAL
    assert _recognised(database, None, host="0.0.0.0").caller is None
    _make(database)
    with pytest.raises(Unauthorized, match="a token is needed"):
        _admitted(database, None)
    _revoke(database)
    with pytest.raises(Unauthorized, match="a token is needed"):
        _admitted(database, None)


def test_only_the_digest_is_stored(database: Database) -> None:
    secret = _make(database)
    with database.reading() as session:
        [row] = session.scalars(select(Token))
        assert len(row.sha256) == 64
        columns = [str(getattr(row, column.key)) for column in Token.__table__.columns]
    assert not [value for value in columns if secret in value or secret[4:] in value]


def test_a_token_is_worth_its_scopes_until_it_expires_or_is_revoked(database: Database) -> None:
    secret = _make(database, Scope.SUBMIT, owner="lab")
    caller = _admitted(database, secret)
    assert caller.owner == "lab"
    caller.check(Scope.SUBMIT)
    caller.check(Scope.READ)
    with pytest.raises(Forbidden, match="this needs worker"):
        caller.check(Scope.WORKER)
    expired = _make(database, name="old", valid_for=-1.0)
    with pytest.raises(Unauthorized, match="old has expired"):
        _admitted(database, expired)
    _revoke(database)
    with pytest.raises(Unauthorized, match="was revoked"):
        _admitted(database, secret)
    with pytest.raises(Unauthorized, match="does not know this token"):
        _admitted(database, secret[:-1])


def test_an_expired_or_revoked_token_is_no_guess(database: Database) -> None:
    expired, revoked = _make(database, valid_for=-1.0), _make(database, name="bob")
    _revoke(database, "bob")
    assert [_recognised(database, each).unknown for each in (expired, revoked)] == [False, False]
    assert _recognised(database, "srt_guess").unknown


def test_the_token_of_the_settings_has_every_scope(database: Database) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        assert _admitted(database, "root", token="root", host=host) is OPERATOR
        assert set(Scope) <= OPERATOR.scopes
        for guess in (None, "", "toor", "roo", "rooté"):
            with pytest.raises(Unauthorized):
                _admitted(database, guess, token="root", host=host)


def test_an_empty_token_of_the_settings_opens_nothing(database: Database) -> None:
    with pytest.raises(Unauthorized):
        _admitted(database, "", token="")


def test_a_token_is_found_by_id_or_name_and_listed_without_its_secret(database: Database) -> None:
    _make(database, name="twice")
    _make(database, name="twice")
    _make(database, name="once")
    with database.writing() as session:
        listed = list_tokens(session)
        assert [token.revoked for token in listed] == [False] * 3
        one = next(token.id for token in listed if token.name == "once")
        assert [token.name for token in revoke_token(session, one)] == ["once"]
        assert revoke_token(session, one) == []
        assert len(revoke_token(session, "twice")) == 2
        with pytest.raises(TokenNotFound, match="nobody"):
            revoke_token(session, "nobody")


def test_other_machines_are_not_served_without_tokens(database: Database) -> None:
    check_binding(_settings(), database)
    check_binding(_settings(host="0.0.0.0", token="root"), database)
    with pytest.raises(InvalidRequest, match="set SRTUNE_TOKEN, or listen on"):
        check_binding(_settings(host="0.0.0.0"), database)
    _make(database)
    check_binding(_settings(host="0.0.0.0"), database)


def test_who_was_recognised_lately_costs_no_statement(database: Database) -> None:
    secrets = [_make(database, name=f"w{number}") for number in range(8)]

    async def ask(callers: Callers) -> None:
        for _ in range(50):
            passes = await asyncio.gather(*(callers.recognise(secret) for secret in secrets))
            assert all(one.caller is not None for one in passes)

    callers = Callers(_settings(token="root"), database)
    with _counted(database) as statements:
        begun = time.monotonic()
        asyncio.run(ask(callers))
        seconds = time.monotonic() - begun
    # Two statements (the clock and the tokens) for everybody together, once a second.
    assert len(statements) <= 2 * (2 + seconds), statements


def test_a_revoked_token_dies_within_a_second(database: Database) -> None:
    secret = _make(database)

    async def ask() -> float:
        callers = Callers(_settings(token="root"), database)
        assert (await callers.recognise(secret)).caller is not None
        await asyncio.to_thread(_revoke, database)
        revoked = time.monotonic()
        while (await callers.recognise(secret)).caller is not None:
            assert time.monotonic() - revoked < 5.0
            await asyncio.sleep(0.01)
        return time.monotonic() - revoked

    # Two more for a machine that is busy with other tests.
    assert asyncio.run(ask()) < callers_module.FRESH + 2.0


def test_a_cached_token_expires_when_it_should(database: Database) -> None:
    secret = _make(database, valid_for=2.0)

    async def ask() -> tuple[Pass, Pass]:
        callers = Callers(_settings(token="root"), database)
        first = await callers.recognise(secret)
        await asyncio.sleep(2.05)
        return first, await callers.recognise(secret)

    first, second = asyncio.run(ask())
    assert first.caller is not None
    assert "expired" in second.refusal


def test_a_token_made_after_it_was_guessed_is_known_at_once_where_it_was_made(
    database: Database,
) -> None:
    async def ask() -> list[bool]:
        callers = Callers(_settings(token="root"), database)
        secret = "srt_chosen"
        seen = [(await callers.recognise(secret)).caller is not None]
        await asyncio.to_thread(_insert, database, secret)
        callers.forget()
        return [*seen, (await callers.recognise(secret)).caller is not None]

    assert asyncio.run(ask()) == [False, True]


def _insert(database: Database, secret: str) -> None:
    from service.tokens import digest

    _make(database)
    with database.writing() as session:
        [row] = session.scalars(select(Token))
        row.sha256 = digest(secret)


def test_a_database_slower_than_the_cache_is_asked_once_per_question(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "FRESH", 0.0)
    secret = _make(database)
    with _counted(database) as statements:
        assert _recognised(database, secret, token="root").caller is not None
    assert len(statements) == 2


def test_guesses_do_not_fill_the_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "_MOST", 10)

    async def guess() -> int:
        callers = Callers(_settings(token="root"), database)
        for number in range(30):
            await callers.recognise(f"guess{number}")
        return len(callers._known)

    assert asyncio.run(guess()) <= 10


def test_the_last_use_is_written_down(database: Database) -> None:
    used, unused = _make(database, name="used"), _make(database, name="unused")

    async def ask(callers: Callers) -> None:
        await callers.recognise(used)
        await callers.recognise(used + "x")

    callers = Callers(_settings(token="root"), database)
    asyncio.run(ask(callers))
    callers.write_uses()
    assert unused
    with database.reading() as session:
        at = {token.name: token.last_used for token in list_tokens(session)}
    assert at["unused"] is None
    assert at["used"] is not None
    with _counted(database) as statements:
        callers.write_uses()
    assert statements == []
