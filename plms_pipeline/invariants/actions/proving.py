"""Proves the books: every invariant on one snapshot, each on its own, none able to hide another.

A check that fails to run is told as violated, and the others still run. Only a database that is away ends the proof, because
then nothing can be said. A proof writes nothing but the marks of a clean night.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.invariants import files
from plms_pipeline.invariants.actions.books import CHECKS
from plms_pipeline.invariants.actions.proof import Proof, begin
from plms_pipeline.invariants.report import Found, Report, Result
from plms_pipeline.invariants.rules import INVARIANTS, Invariant
from plms_pipeline.invariants.store import books, rows
from plms_pipeline.invariants.window import is_full_night
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry, checked_url, outage, sqlite_file
from plms_pipeline.registry.files import DAMAGED
from plms_pipeline.registry.violations import VIOLATIONS
from plms_pipeline.settings import Settings, masked

_KNOWN: Final = ("sqlite:///", "postgresql+psycopg://")
logger = logging.getLogger(__name__)


def open_registry(url: str, *, is_named: bool) -> Registry:
    """Open an existing registry for reading only. SQLite would make an empty file where none is, and prove that.

    Args:
        url: where it lies.
        is_named: whether a person named it (`--db`) or it is the configured one.

    Raises:
        BadInput: the named SQLite file does not exist or holds no registry, or the URL is none.
        Unavailable: the configured SQLite file does not exist, or the schema is not at head.
    """
    url = url.replace("postgresql://", "postgresql+psycopg://", 1) if url.startswith("postgresql://") else url
    if not url.startswith(_KNOWN):
        raise BadInput(
            f"{masked(url)} is no registry; use a file, sqlite:////absolute/path.db or postgresql+psycopg://host/name.",
            code="bad_database_url",
        )
    checked_url(url)
    path = sqlite_file(url)
    if is_named and path is not None and not files.is_file(path):
        raise BadInput(f"There is no registry at {path}; name an existing one with --db.", code="no_such_registry")
    registry = Registry.open(url, read_only=True)
    try:
        if is_named:
            migrate.require_ours(registry)
        migrate.require_head(registry)
    except BaseException as error:
        registry.close()
        if is_named and isinstance(error, Unavailable) and error.code == DAMAGED:
            # The configured registry would be an outage. This is a file that somebody misspelt.
            raise BadInput(f"{path} is no database; name a registry with --db.", code="no_such_registry") from None
        raise
    return registry


def prove(
    registry: Registry,
    settings: Settings,
    clock: Clock,
    *,
    as_of: datetime | None = None,
    full: bool = False,
    only: Collection[str] | None = None,
    keeps_marks: bool = False,
) -> Report:
    """Check the invariants on one snapshot of the registry.

    Args:
        registry: a registry at head.
        settings: where the files of days lie.
        clock: measures how long each check takes.
        as_of: the instant of the night; now when omitted. On Sundays in New York everything is proven.
        full: prove everything, trusting no index; otherwise book invariants take what changed since the last clean night.
        only: names of the invariants to check; all when omitted.
        keeps_marks: whether a clean proof of all invariants moves the marks. The night does, a person asking does not.

    Raises:
        Unavailable: the database went away.
    """
    instant = as_of or clock.now()
    everything = full or is_full_night(instant)
    chosen = [each for each in INVARIANTS.values() if only is None or each.name in only]
    with registry.reading() as session:
        proof = begin(session, registry, settings, names=[each.name for each in chosen], full=everything)
        results = tuple(_checked(proof, each, clock) for each in chosen)
        is_empty = not (proof.saw_rows() or books.has_rows(session))
        found_marks = proof.new_marks() if keeps_marks and only is None else {}
    report = Report(
        instant, masked(registry.engine.url.render_as_string()), full=everything, results=results, is_empty=is_empty
    )
    if report.holds and found_marks:
        with registry.writing() as session:
            rows.put_marks(session, found_marks, at=instant)
    logger.info("books_proven holds=%s violations=%d full=%s", report.holds, report.violations, everything)
    return report


def _checked(proof: Proof, invariant: Invariant, clock: Clock) -> Result:
    begun = clock.now()
    error: str | None = None
    found = Found(0)
    try:
        found = _found(proof, invariant)
    except Exception as problem:  # noqa: BLE001 - whatever stops a check from running is itself the finding
        error = _told(proof, problem)
    return Result(invariant, found, (clock.now() - begun).total_seconds() * 1000, error)


def _found(proof: Proof, invariant: Invariant) -> Found:
    if invariant.kind == "row":
        checked = proof.rows_of(VIOLATIONS[invariant.name].table)
        found = proof.offenders_of(invariant)
        return found or rows.offenders(proof.session, invariant, checked=checked, trust_index=not proof.full)
    return CHECKS[invariant.name](proof)


def _told(proof: Proof, problem: Exception) -> str:
    """Why a check could not run, in one line; raises when the reason is that the database is away.

    The failed statement may have ended the transaction (on PostgreSQL it has): what follows starts a new one.
    """
    if isinstance(problem, SQLAlchemyError):
        away = outage(proof.registry.engine, problem)
        if away is not None and not _answers(proof.session):
            raise away from problem
    proof.session.rollback()
    reason = str(getattr(problem, "orig", None) or problem).strip()
    return f"{type(problem).__name__}: {reason.splitlines()[0] if reason else 'no reason given'}"


def _answers(session: Session) -> bool:
    try:
        session.rollback()
        rows.ping(session)
    except SQLAlchemyError:
        return False
    return True
