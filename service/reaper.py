"""What time brings about: leases lapse, budgets of time run out, workers are gone, litter goes."""

from __future__ import annotations

import logging

from sqlalchemy import delete, select

from service import trail
from service.attempts import lapse
from service.blobs import Blobs
from service.contract.errors import LeaseLost, StudyNotFound
from service.contract.trial import StudyState, TrialState
from service.contract.vocabulary import Vocabulary
from service.db import Database, now
from service.fleet import bury
from service.models import Idempotency, Study, Trial
from service.phases import advance, overspent
from service.settings import Settings
from service.states import locked
from service.studies import wanted_blobs

logger = logging.getLogger(__name__)

#: An upload is referred to within this time, or never.
_UPLOAD_SECONDS = 6 * 3600.0
#: A request is repeated within this time, or never.
_REPEAT_SECONDS = 24 * 3600.0


def sweep(database: Database, vocabulary: Vocabulary, settings: Settings) -> list[str]:
    """Judge what is overdue by the database's clock; the uids of trials that lapsed."""
    with database.reading() as session:
        overdue = session.scalars(
            select(Trial.uid).where(Trial.state == TrialState.LEASED, Trial.expires < now(session))
        ).all()
        active = session.scalars(
            select(Study).where(Study.state.in_((StudyState.ACTIVE, StudyState.CONFIRMING)))
        ).all()
        late = [s.id for s in active if overspent(session, s, s.parsed()) is not None]
    lapsed = [uid for uid in overdue if _lapse(database, uid, vocabulary, settings)]
    for study_id in late:
        _end_late(database, study_id, vocabulary)
    with database.writing() as session:
        for name in bury(session, lease_seconds=settings.lease_seconds):
            logger.info("worker gone", extra={"worker": name})
    return lapsed


def clear_litter(database: Database, blobs: Blobs) -> int:
    """Remove stored objects no row refers to, such as overtaken checkpoints; how many.

    Answers kept for repeated requests go too, once nobody repeats them any more.
    """
    with database.writing() as session:
        old = now(session) - _REPEAT_SECONDS
        session.execute(delete(Idempotency).where(Idempotency.created < old))
    with database.reading() as session:
        wanted = wanted_blobs(session)
    return blobs.sweep(wanted, older_than=_UPLOAD_SECONDS)


def _lapse(database: Database, uid: str, vocabulary: Vocabulary, settings: Settings) -> bool:
    limit = settings.max_attempts
    with trail.on(trial=uid):
        try:
            with database.writing() as session:
                lapsed = lapse(session, uid, vocabulary=vocabulary, max_attempts=limit)
        except LeaseLost:
            return False  # its study was deleted meanwhile
        if lapsed:
            logger.info("lease lapsed")
        return lapsed


def _end_late(database: Database, study_id: str, vocabulary: Vocabulary) -> None:
    try:
        with database.writing() as session:
            advance(session, locked(session, study_id), vocabulary)
    except StudyNotFound:
        logger.info("study deleted meanwhile", extra={"study": study_id})
