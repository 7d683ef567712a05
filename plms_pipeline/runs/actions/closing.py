"""What is left to do when a run has ended?

Its staged files become outputs, the files enter the books, its log and its session report are written. All of it is made from
what the books hold, may be repeated, and is found due by state: a run that ended and has no report. So nothing has to be
remembered between the transaction that ended the run and this.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict, NotFound, Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.absent import no_run
from plms_pipeline.runs.actions.evidence import write_heat
from plms_pipeline.runs.files import artifacts, reports
from plms_pipeline.runs.files.reports import ReportText
from plms_pipeline.runs.render.session import session_markdown
from plms_pipeline.runs.runlog import Line, log_text
from plms_pipeline.runs.session import report_of, same_content
from plms_pipeline.runs.session_fields import SessionReport
from plms_pipeline.runs.store import sessions as store
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
MOST_RUNS: Final = 500
MOST_TRIES: Final = 3
# A full disk, a quota, a disk that may only be read: the next run fares no better.
NO_PLACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def close_due(registry: Registry, *, settings: Settings, clock: Clock, limit: int = MOST_RUNS) -> list[str]:
    """Close every run that ended and has no report, or whose verdict was overridden since; returns those that were closed."""
    with registry.reading() as session:
        due = store.due_reports(session, limit=limit)
    return list(_closed(registry, settings=settings, clock=clock, run_ids=due))


def close_runs(registry: Registry, *, settings: Settings, clock: Clock, run_ids: Collection[str]) -> int:
    """Close runs that ended; how many reports are new or changed.

    A run that cannot be closed is told in the log, holds up no other, and is due again; where nothing can be written at all,
    the first says so for all.

    Raises:
        Unavailable: the registry is away.
    """
    closed = _closed(registry, settings=settings, clock=clock, run_ids=run_ids)
    return sum(closed.values())


def _closed(registry: Registry, *, settings: Settings, clock: Clock, run_ids: Collection[str]) -> dict[str, bool]:
    """The runs that were closed, and whether the report of each is new or changed; their heat is written too."""
    closed: dict[str, bool] = {}
    for run_id in run_ids:
        try:
            closed[run_id] = close_run(registry, settings=settings, clock=clock, run_id=run_id)
        except Unavailable:
            raise
        except Exception as error:
            log.exception("session_not_closed run_id=%s", run_id)
            if isinstance(error, OSError) and error.errno in NO_PLACE:
                break
    write_heat(registry, settings=settings, clock=clock, run_ids=list(closed))
    return closed


def close_run(registry: Registry, *, settings: Settings, clock: Clock, run_id: str) -> bool:
    """Promote the run's files, enter them into the books, write log and report; whether the report is new or changed."""
    outputs = artifacts.promote(settings.data_dir, run_id)
    rows = [
        {"artifact_path": each.path, "artifact_kind": each.kind, "size_bytes": each.size, "sha256": each.sha256}
        for each in outputs
    ]
    now = clock.now()
    if rows:
        with registry.writing() as session:
            store.add_artifacts(session, run_id, rows, at=now)
    write_run_log(registry, settings=settings, run_id=run_id)
    return write_session_report(registry, settings=settings, run_id=run_id, now=now)


def write_session_report(registry: Registry, *, settings: Settings, run_id: str, now: datetime) -> bool:
    """Write the report of a run; False when it says what the last one said, which then stays.

    Two processes may do so at once. The row decides whose report it is, by its revision; who finds that another was faster
    reads again and leaves the files as the row has them.

    Raises:
        NotFound: no such run.
        Conflict: others changed it each time we tried; it is due again.
    """
    is_overtaken = False
    for _ in range(MOST_TRIES):
        written = _write_revision(registry, settings=settings, run_id=run_id, now=now, repair=is_overtaken)
        if written is not None:
            return written
        is_overtaken = True
    raise Conflict(
        f"The report of run {run_id} is being written by others; it is tried again.", code="report_contended"
    )


def _write_revision(registry: Registry, *, settings: Settings, run_id: str, now: datetime, repair: bool) -> bool | None:
    """One try: whether the report is new or changed; None when another process was faster.

    Args:
        repair: the files may hold what we wrote and another overtook: write them also when the report is the same.
    """
    with registry.reading() as session:
        facts = store.facts_of(session, run_id)
        before = store.written(session, run_id)
    if facts is None:
        raise no_run(run_id)
    report = report_of(facts, now=now)
    document: dict[str, Any] = report.model_dump(mode="json")
    is_same = before is not None and same_content(document, before.report)
    if is_same and before is not None:
        document, report = dict(before.report), SessionReport.model_validate(before.report)
        revision, digest, path = before.revision, before.sha256, before.path
    else:
        revision, digest, path = before.revision + 1 if before else 1, "", ""
    text = canonical_json(document) + "\n"
    if repair or not is_same:
        # The moment is the run's own: who repeats this after a crash, or beside another, makes no second entry of it.
        at = facts.completed_at or facts.created_at
        markdown = session_markdown(report, facts, revision=revision)
        path = str(
            reports.write_report(settings.reports_dir, run_id, ReportText(markdown, text), revision=revision, at=at)
        )
        digest = hashlib.sha256(text.encode()).hexdigest()
    with registry.writing() as session:
        # Noted also when nothing changed: an override that changes nothing in it must not be found due for ever.
        is_ours = store.put_report(
            session, run_id, document=document, sha256=digest, path=path, revision=revision, at=now,
            after=before.revision if before else None,
        )  # fmt: skip
    if not is_ours:
        return None
    log.info("session_report run_id=%s result=%s revision=%d", run_id, report.RESULT, revision)
    return not is_same


def write_run_log(registry: Registry, *, settings: Settings, run_id: str) -> list[Line]:
    """Write the log of a run from the books; its lines."""
    lines = run_lines(registry, run_id)
    reports.write_log(settings.reports_dir, run_id, log_text(run_id, lines))
    return lines


def run_lines(registry: Registry, run_id: str) -> list[Line]:
    """The log of a run as the books hold it now."""
    with registry.reading() as session:
        return store.lines_of(session, run_id)


def run_status(registry: Registry, run_id: str) -> str:
    """The status of a run.

    Raises:
        NotFound: no such run.
    """
    with registry.reading() as session:
        status = store.status_of(session, run_id)
    if status is None:
        raise no_run(run_id)
    return status


def report_document(registry: Registry, run_id: str) -> store.Written:
    """The report of a run as it was last written.

    Raises:
        NotFound: no such run, or it has no report yet (`no_report`).
    """
    status = run_status(registry, run_id)
    with registry.reading() as session:
        found = store.written(session, run_id)
    if found is None:
        raise NotFound(
            f"Run {run_id} is {status} and has no report yet: it is written when the run has ended.", code="no_report"
        )
    return found


def newest_reports(registry: Registry, *, limit: int) -> tuple[int, list[store.Written]]:
    """How many reports there are, and the newest of them."""
    with registry.reading() as session:
        return store.newest_reports(session, limit=limit)


def sweep_orphans(registry: Registry, *, settings: Settings, clock: Clock) -> list[str]:
    """Remove run folders that nobody owns and nobody touched for a day; what was removed, relative to the data directory."""
    known, ended = _known_runs(registry, settings)
    return artifacts.sweep(settings.data_dir, known=known, ended=ended, now=clock.now())


def orphaned_folders(registry: Registry, *, settings: Settings, clock: Clock) -> list[str]:
    """The folders that `sweep_orphans` would remove, relative to the data directory."""
    known, ended = _known_runs(registry, settings)
    return artifacts.orphans(settings.data_dir, known=known, ended=ended, now=clock.now())


def _known_runs(registry: Registry, settings: Settings) -> tuple[frozenset[str], frozenset[str]]:
    """Of the runs that have a folder: those that the registry holds, and those of them that ended and were promoted."""
    names = artifacts.run_names(settings.data_dir)
    with registry.reading() as session:
        return store.known_runs(session, names)
