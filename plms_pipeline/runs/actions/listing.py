"""What is said about runs to whoever asks?"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables.vocabulary import STATES
from plms_pipeline.runs.absent import no_run
from plms_pipeline.runs.store import listing as store


def list_runs(
    registry: Registry,
    *,
    project_id: int | None = None,
    status: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Runs that were started here, the newest first, as JSON objects.

    Args:
        after: only those that were started before this run, whatever its project and state: the last one of the page before.

    Raises:
        BadInput: an unknown state (`unknown_status`).
        NotFound: `after` is no run (`unknown_cursor`): an empty page would read as the end of the list.
    """
    if status is not None and status not in STATES:
        raise BadInput(f"{status[:60]!r} is no state of a run; known are {', '.join(STATES)}.", code="unknown_status")
    with registry.reading() as session:
        before = None if after is None else store.row_id_of(session, after)
        if after is not None and before is None:
            raise NotFound(
                f"after={after[:80]!r} is no run: give the last run_id of the page before, or leave it out.",
                code="unknown_cursor",
            )
        return [
            told(row) for row in store.runs(session, project_id=project_id, status=status, before=before, limit=limit)
        ]


def show_run(registry: Registry, run_id: str) -> dict[str, Any]:
    """One run with its tasks, as a JSON object.

    Raises:
        NotFound: no such run.
    """
    with registry.reading() as session:
        found = store.details(session, run_id)
    if found is None:
        raise no_run(run_id)
    return {
        **told(found.run),
        "parent_run_id": found.parent_run_id,
        "provider_mismatch": found.provider_mismatch,
        "reason": found.reason,
        "tasks": [asdict(task) for task in found.tasks],
    }


def told(row: store.RunRow) -> dict[str, Any]:
    """A run as JSON: moments in ISO 8601."""
    shown = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(row).items()}
    shown["tasks_by_status"] = shown.pop("tasks")
    return shown


def project_forecast(registry: Registry, project_id: int) -> dict[str, Any]:
    """What a project is estimated to take: tokens, minutes, cost_usd; None where nothing is estimated."""
    with registry.reading() as session:
        row = store.project_estimate(session, project_id)
    tokens, minutes, cost_usd = row or (None, None, None)
    return {"tokens": tokens, "minutes": minutes, "cost_usd": None if cost_usd is None else float(cost_usd)}
