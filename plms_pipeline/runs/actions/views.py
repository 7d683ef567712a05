"""What is told about a project to whoever looks: metrics, drift, status, receipts, artifacts, runway, risk?

Each view is a handful of indexed statements on one snapshot and some arithmetic (`runs.views`). The original answered all of
them with constants, for any id; here an unknown project is 404 and what is not known is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from sqlalchemy.orm import Session

from plms_pipeline.errors import NoData, NotFound
from plms_pipeline.measures import MEASURES, Measure
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs import views
from plms_pipeline.runs.absent import no_project
from plms_pipeline.runs.actions import runway
from plms_pipeline.runs.store import view_rows
from plms_pipeline.runs.store import views as store

R = TypeVar("R")
# What follows from equal rows is not worked out again; so many rows are remembered.
REMEMBERED: Final = 512
MAX_HISTORY: Final = 10
MAX_LISTED: Final = 500
# Grams of CO2 per kWh, the sources' figure.
CARBON_G_PER_KWH: Final = 200
# The runway has an action of its own, which the terminal, the history and the breach policy share.
budget_runway = runway.budget_runway


def metrics(
    registry: Registry, project_id: int, *, with_ci: bool = False, with_breakdown: bool = False
) -> dict[str, Any]:
    """Estimated against actual, and with `with_ci` intervals, what lies in them, and the errors per lane.

    Raises:
        NotFound: no such project.
    """
    with registry.asking() as ask:
        rows = view_rows.metrics_rows(ask, project_id, with_ci=with_ci, with_breakdown=with_breakdown)
    return metrics_of(found_rows(rows, project_id), with_ci=with_ci)


def metrics_of(rows: view_rows.MetricsRows, *, with_ci: bool) -> dict[str, Any]:
    """The metrics that rows tell."""
    facts, _, _ = view_rows.head_of(rows)
    *sums, echo = view_rows.actuals_of(rows)
    parts = view_rows.breakdown_of(rows)
    actual = views.as_measured(sums)
    estimated_ms = None if facts.estimated_minutes is None else facts.estimated_minutes * 60_000
    estimated: dict[Measure, float | None] = {
        "tokens": facts.estimated_tokens, "duration_ms": estimated_ms, "cost_usd": _usd(facts.estimated_usd),
    }  # fmt: skip
    accuracy: dict[str, Any] = {
        f"{name}_error_pct": views.error_pct(estimated[measure], actual[measure])
        for name, measure in zip(("token", "time", "cost"), MEASURES, strict=True)
    }
    answer: dict[str, Any] = {"project_id": facts.id}
    if with_ci:
        intervals = _intervals(rows.cells)
        answer["estimated"] = {m: {"mean": estimated[m], "ci_90": intervals[m]} for m in MEASURES}
        accuracy |= {f"{m}_in_ci": views.is_inside(intervals[m], actual[m]) for m in MEASURES}
        lanes = view_rows.errors_of(rows)
        calibration: dict[str, Any] = {"lane_specific_errors": [_lane_error(lane) for lane in lanes]}
    else:
        answer["estimated"] = {
            "tokens": facts.estimated_tokens, "duration_minutes": facts.estimated_minutes,
            "cost_usd": _usd(facts.estimated_usd),
        }  # fmt: skip
        calibration = {}
    answer |= {"actual": actual, "accuracy": accuracy, "calibration": calibration}
    if with_ci:
        answer["quality_slo"] = {
            "target_echo_cos": facts.min_echo_cos, "actual_mean_cos": _rounded(echo), "violations": _gates(rows.gates),
        }  # fmt: skip
    if parts is not None:
        answer["breakdown"] = _breakdown(parts)
    return answer


def found_rows(rows: R | None, project_id: int) -> R:
    """The rows of the project that was asked about.

    Raises:
        NotFound: no such project.
    """
    if rows is None:
        raise no_project(project_id)
    return rows


def _gates(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Blocking gates that failed."""
    return [
        {
            "task_id": task,
            "lane_id": lane,
            "kpi_name": name,
            "kpi_value": value,
            "kpi_threshold": json.loads(threshold or "null"),
        }
        for task, lane, name, value, threshold in rows
    ]  # fmt: skip


def _intervals(cells: Iterable[Any]) -> dict[Measure, list[float] | None]:
    known = [(tasks, json.loads(text).get("effort", {}) if text else {}) for _, _, tasks, text in cells]
    return {measure: views.interval_of(known, measure) for measure in MEASURES}


def _lane_error(lane: store.LaneError) -> dict[str, Any]:
    """Mean absolute error in tokens, and in percent of what was estimated."""
    return {
        "lane_id": lane.lane_id, "lane_name": lane.lane_name, "mae_tokens": round(lane.error / lane.n),
        "mae_pct": round(lane.error / lane.estimated * 100, 1), "n": lane.n,
    }  # fmt: skip


def _breakdown(parts: Any) -> dict[str, Any]:
    total, given, made, cached, reasoning, kwh = parts
    return {
        "tokens_total": _whole(total), "tokens_input": _whole(given), "tokens_output": _whole(made),
        "tokens_cached": _whole(cached), "tokens_think": _whole(reasoning), "tokens_tool_use": None,
        "energy_kwh": _rounded(kwh), "carbon_kg": None if kwh is None else _rounded(kwh * CARBON_G_PER_KWH / 1000),
    }  # fmt: skip


def estimation_drift(registry: Registry, project_id: int, *, lane_id: int | None = None) -> dict[str, Any]:
    """How far the tokens of a lane lay from their estimates in the last ten projects (fractions), and where that goes.

    Args:
        lane_id: None: the lane with most tasks of the project.

    Raises:
        NotFound: no such project or lane.
        NoData: no lane was named and the project plans no task.
    """
    with registry.reading() as session:
        _facts(session, project_id)
        lane = store.main_lane(session, project_id) if lane_id is None else lane_id
        if lane is None:
            raise NoData(f"Project {project_id} plans no task; name a lane (`?lane_id=`).", code="no_tasks")
        name = store.lane_name(session, lane)
        if name is None:
            raise NotFound(f"There is no lane {lane}.", code="unknown_lane")
        ids = store.newest_projects(session, lane, limit=MAX_HISTORY)
        errors = store.lane_errors(session, ids, lane) if ids else {}
    history = [
        {"project_id": number, "mae_pct": round(errors[number][0].error / errors[number][0].estimated, 4)}
        for number in ids
        if number in errors
    ]
    return {
        "project_id": project_id, "lane_id": lane, "lane_name": name, "history": history,
        "trend": views.trend([point["mae_pct"] for point in history]),
    }  # fmt: skip


def status(registry: Registry, project_id: int) -> dict[str, Any]:
    """How far a project is: its state, its newest run's tasks, its budget, and the gates that failed.

    Raises:
        NotFound: no such project.
    """
    with registry.asking() as ask:
        rows = view_rows.status_rows(ask, project_id)
    return status_of(found_rows(rows, project_id))


def status_of(rows: view_rows.StatusRows) -> dict[str, Any]:
    """The status that rows tell."""
    facts, is_held, run = view_rows.head_of(rows)
    tokens, _, cost, echo = view_rows.actuals_of(rows)
    counts: dict[str, int] = dict(rows.by_status)
    left = [
        views.remaining_pct(_usd(facts.budget_usd), float(cost or 0)),
        views.remaining_pct(facts.budget_tokens, float(tokens or 0)),
    ]
    known = [each for each in left if each is not None]
    return {
        "project_id": facts.id,
        "status": "paused" if is_held else facts.status,
        "run": None if run is None else {"run_id": run.run_id, "status": run.status, "validation": run.validation},
        "progress": {
            "completed_tasks": counts.get("SUCCESS", 0), "failed_tasks": counts.get("FAIL", 0),
            "total_tasks": sum(counts.values()) if run else sum(tasks for _, _, tasks, _ in rows.planned),
            "current_task": rows.running[0][0] if rows.running else None, "tokens_used": _whole(tokens),
            "tokens_budget": facts.budget_tokens, "cost_usd": _usd(cost), "cost_usd_budget": _usd(facts.budget_usd),
            "budget_remaining_pct": min(known) if known else None,
        },
        "quality_slo_status": {
            "min_echo_cos": facts.min_echo_cos, "current_mean_cos": _rounded(echo), "violations": _gates(rows.gates),
        },
    }  # fmt: skip


def receipts(registry: Registry, project_id: int, *, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
    """Receipts of a project in order of id; the last id is `after` of the next page.

    Raises:
        NotFound: no such project.
    """
    with registry.reading() as session:
        _facts(session, project_id)
        rows = store.receipts(session, project_id, after=after, limit=min(limit, MAX_LISTED))
    return [
        {
            "id": row[0], "run_id": row[1], "task_id": row[2], "attempt": row[3], "task_name": row[4] or row[2],
            "lane_id": row[5], "provider": row[6], "tokens_used": row[7], "duration_ms": row[8], "cost_usd": _usd(row[9]),
            "status": row[10], "completed_at": row[11].isoformat(), "receipt_path": safe_path(row[12]),
        }
        for row in rows
    ]  # fmt: skip


def artifacts(registry: Registry, project_id: int, *, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
    """Files that the runs of a project left, in order of id; paths are relative to their run's outputs.

    Raises:
        NotFound: no such project.
    """
    with registry.reading() as session:
        _facts(session, project_id)
        rows = store.artifacts(session, project_id, after=after, limit=min(limit, MAX_LISTED))
    return [
        {
            "id": row[0],
            "run_id": row[1],
            "path": safe_path(row[2]),
            "kind": row[3],
            "size_bytes": row[4],
            "sha256": row[5],
        }
        for row in rows
    ]


def safe_path(path: str | None) -> str | None:
    """A path as it may be told: relative and without a step upwards; anything else names our disk, and is not told."""
    if (
        path is None
        or path.startswith(("/", "\\"))
        or ":" in path.split("/")[0]
        or ".." in path.replace("\\", "/").split("/")
    ):
        return None
    return path


def risk_heatmap(registry: Registry, project_id: int) -> dict[str, Any]:
    """Per lane of a project: estimation, execution and validation risk, and the signals behind them (fractions).

    Raises:
        NotFound: no such project.
    """
    with registry.reading() as session:
        _facts(session, project_id)
        cells = store.cells(session, project_id)
        errors = {each.lane_id: each for each in store.lane_errors(session, [project_id]).get(project_id, [])}
        outcomes = store.lane_outcomes(session, project_id)
        gates = store.lane_gates_failed(session, project_id)
        names = {lane: store.lane_name(session, lane) for lane in {cell[0] for cell in cells} | set(outcomes)}
    return {
        "project_id": project_id,
        "lanes": [_lane_risk(lane, names[lane], cells, errors, outcomes, gates) for lane in sorted(names)],
        "legend": {
            "low": {"mae_pct_lt": 0.15, "ci_width_lt": 0.30},
            "medium": {"mae_pct_le": 0.30, "ci_width_le": 0.50},
            "high": {"else": True},
        },
    }


def _lane_risk(
    lane: int, name: str | None, cells: list[tuple[int, str, int, str | None]], errors: Mapping[int, store.LaneError],
    outcomes: Mapping[int, tuple[str, int, int]], gates: Mapping[int, tuple[int, int]],
) -> dict[str, Any]:  # fmt: skip
    error = errors.get(lane)
    mae = round(error.error / error.estimated, 4) if error is not None else None
    interval = _intervals([cell for cell in cells if cell[0] == lane])["tokens"]
    # The interval is that of a log-normal, whose median is the geometric mean of its ends.
    middle = math.sqrt(interval[0] * interval[1]) if interval else 0.0
    width = round((interval[1] - interval[0]) / middle, 4) if interval and middle > 0 else None
    _, n, bad = outcomes.get(lane, ("", 0, 0))
    measured, failed = gates.get(lane, (0, 0))
    return {
        "lane_id": lane, "name": name, "estimation_risk": views.estimation_risk(mae, width, error.n if error else 0),
        "execution_risk": views.ratio_risk(bad, n), "validation_risk": views.ratio_risk(failed, measured),
        "signals": {"mae_pct": mae, "ci_width_pct": width, "n": n},
    }  # fmt: skip


def _facts(session: Session, project_id: int) -> store.ProjectFacts:
    found = store.facts(session, project_id)
    if found is None:
        raise no_project(project_id)
    return found


def _usd(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
