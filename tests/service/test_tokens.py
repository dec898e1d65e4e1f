"""Who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.contract.errors import Forbidden, InvalidRequest, Unauthorized
from service.db import Database
from service.models import Token
from service.settings import Settings
from service.tokens import Scope, authorize, check_binding, create_token, revoke_token


def _settings(**changes: Any) -> Settings:
    return Settings(data=Path("/nowhere"), **changes)


def test_on_loopback_no_token_is_needed_until_there_is_one(database: Database) -> None:
    with database.writing() as session:
        authorize(session, _settings(), None, Scope.ADMIN)
        create_token(session, "ann", [Scope.READ])
        with pytest.raises(Unauthorized, match="a token is needed"):
            authorize(session, _settings(), None, Scope.READ)


def test_only_the_digest_is_stored(database: Database) -> None:
    with database.writing() as session:
        secret = create_token(session, "ann", [Scope.READ])
        [row] = session.scalars(select(Token))
        assert secret not in (row.sha256, row.name)
        assert len(row.sha256) == 64


def test_a_token_is_worth_its_scopes_until_it_expires_or_is_revoked(database: Database) -> None:
    with database.writing() as session:
        settings = _settings(host="0.0.0.0")
        secret = create_token(session, "ann", [Scope.SUBMIT])
        authorize(session, settings, secret, Scope.SUBMIT)
        authorize(session, settings, secret, Scope.READ)
        with pytest.raises(Forbidden, match="this needs worker"):
            authorize(session, settings, secret, Scope.WORKER)
        expired = create_token(session, "old", [Scope.READ], valid_for=-1.0)
        with pytest.raises(Unauthorized, match="old has expired"):
            authorize(session, settings, expired, Scope.READ)
        assert revoke_token(session, "ann") == 1
        with pytest.raises(Unauthorized, match="does not know this token"):
            authorize(session, settings, secret, Scope.READ)


def test_the_token_of_the_settings_has_every_scope(database: Database) -> None:
    with database.reading() as session:
        settings = _settings(token="root", host="0.0.0.0")
        for scope in Scope:
            authorize(session, settings, "root", scope)
        with pytest.raises(Unauthorized):
            authorize(session, settings, "toor", Scope.READ)


def test_other_machines_are_not_served_without_tokens(database: Database) -> None:
    check_binding(_settings(), database)
    check_binding(_settings(host="0.0.0.0", token="root"), database)
    with pytest.raises(InvalidRequest, match="set SRTUNE_TOKEN, or listen on"):
        check_binding(_settings(host="0.0.0.0"), database)
    with database.writing() as session:
        create_token(session, "ann", [Scope.READ])
    check_binding(_settings(host="0.0.0.0"), database)
