"""What is said about runs to whoever asks?"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from plms_pipeline.errors import NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.store import listing as store


def list_runs(
    registry: Registry, *, project_id: int | None = None, status: str | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Runs that were started here, the newest first, as JSON objects."""
    with registry.reading() as session:
        return [told(row) for row in store.runs(session, project_id=project_id, status=status, limit=limit)]


def show_run(registry: Registry, run_id: str) -> dict[str, Any]:
    """One run with its tasks, as a JSON object.

    Raises:
        NotFound: no such run.
    """
    with registry.reading() as session:
        found = store.details(session, run_id)
    if found is None:
        raise NotFound(
            f"There is no run {run_id[:80]!r}; `plms run list` shows those that exist.", code="run_not_found"
        )
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
