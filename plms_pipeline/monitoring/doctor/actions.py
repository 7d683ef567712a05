"""What is the state of this installation, line by line?

Every line is found even when others fail: the person who repairs one thing wants to know the next one now.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.instance.files.home import CONFIG_FILE, dagster_home, dagster_state_dir
from plms_pipeline.monitoring import files as reports
from plms_pipeline.monitoring.doctor import checks, files, store
from plms_pipeline.monitoring.doctor.checks import Books, Line, Night
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry, sqlite_file
from plms_pipeline.settings import Settings, masked, project_root


def examine(settings: Settings, clock: Clock, dagster_problem: Callable[[Path], str]) -> list[Line]:
    """All lines of the doctor's answer, in the order in which things depend on each other.

    Args:
        settings: where to look.
        clock: this process's clock.
        dagster_problem: opens a Dagster home in a process of its own and says why it cannot (empty: it can).
    """
    root = project_root()
    data, published = files.look_at(settings.data_dir), files.look_at(settings.reports_dir)
    books = _books(settings)
    home = dagster_home(settings)
    config = home / CONFIG_FILE
    state = files.look_at(dagster_state_dir(settings))
    differences, locked = files.lock_differences(root / "requirements.lock" if root else None)
    now = clock.now()
    return [
        checks.python(files.python_version()),
        checks.lock(differences, locked),
        checks.rights("PLMS_DATA_DIR", str(settings.data_dir), data.problem),
        checks.rights("PLMS_REPORTS_DIR", str(settings.reports_dir), published.problem),
        checks.disk("disk of the data", str(settings.data_dir), data.free_mb, settings.min_free_disk_mb),
        checks.disk("disk of the reports", str(settings.reports_dir), published.free_mb, settings.min_free_disk_mb),
        checks.database(books, masked(settings.database_url)),
        checks.dagster_home(
            str(config),
            exists=files.is_file(config),
            is_default=home == root,
            problem=dagster_problem(home) if files.is_file(config) and not state.problem else "",
            state_path=str(state.path),
            state_problem=state.problem if data.problem == "" else "",
        ),
        checks.token_keys(
            files.token_keys(settings.data_dir, settings.jwt_public_keys, now), is_asked=settings.auth == "jwt"
        ),
        checks.clock(now, data.file_time, books),
        checks.last_night(_last_night(settings), now),
        checks.alerts(books),
    ]


def _books(settings: Settings) -> Books:
    file = sqlite_file(settings.database_url)
    if file is not None and not files.is_file(file):
        # Opening it would create it.
        return Books(is_missing=True)
    try:
        state = migrate.check(settings.database_url)
        if not state.is_at_head:
            return Books(revision=state.current, head=state.head, differences=state.differences)
        registry = Registry.open(settings.database_url, read_only=True)
        try:
            with registry.reading() as session:
                completed, recorded = store.newest_moments(session)
                unread = store.failing_sources(session)
        finally:
            registry.close()
    except PlmsError as error:
        return Books(problem=error.message)
    return Books(
        revision=state.current, head=state.head, newest_completed_at=completed, newest_recorded_at=recorded,
        unread_sources=tuple(unread),
    )  # fmt: skip


def _last_night(settings: Settings) -> Night | None:
    try:
        stored = reports.stored_reports(settings.reports_dir)
    except PlmsError:
        # The line about the folder's rights tells why.
        return None
    if not stored:
        return None
    newest, summary = stored[0], stored[0].summary or {}
    try:
        as_of = datetime.fromisoformat(str(summary.get("as_of")))
    except ValueError:
        as_of = None
    verdict = summary.get("verdict")
    return Night(newest.night, as_of if as_of and as_of.tzinfo else None, str(verdict) if verdict else None)
