"""What is worked out from the books only when somebody looks: risk, drift, gates, why tasks wait?

Each is one reading for all projects together, with the arithmetic of the endpoints that answer it for one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from plms_pipeline.measures import Measure
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs import views
from plms_pipeline.runs.actions.views import MAX_HISTORY
from plms_pipeline.runs.store import views as project_store
from plms_pipeline.web.page.facts import Snapshot
from plms_pipeline.web.page.sections import worst
from plms_pipeline.web.page.store import risk as store

_TOKENS: Final[Measure] = "tokens"


def risk_cells(registry: Registry, snapshot: Snapshot) -> dict[int, dict[int, dict[str, Any]]]:
    """Project → lane → its three risks, the worst of them, and the signals behind them (fractions)."""
    numbers = [one.project_id for one in snapshot.projects]
    if not numbers:
        return {}
    with registry.reading() as session:
        cells = store.cells(session, numbers)
        outcomes = store.outcomes(session, numbers)
        gates = store.gates_failed(session, numbers)
        errors = {
            (project, each.lane_id): each
            for project, found in project_store.lane_errors(session, numbers).items()
            for each in found
        }
    table: dict[int, dict[int, dict[str, Any]]] = {}
    for project, lane in sorted(cells.keys() | outcomes.keys()):
        table.setdefault(project, {})[lane] = _cell(
            lane, tuple((size, text) for _, _, size, text in cells.get((project, lane), ())), errors.get((project, lane)),
            outcomes.get((project, lane), (0, 0)), gates.get((project, lane), (0, 0)),
        )  # fmt: skip
    return table


def _cell(
    lane: int, plan: tuple[tuple[int, str | None], ...], error: project_store.LaneError | None, outcome: tuple[int, int],
    gate: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    mae = round(error.error / error.estimated, 4) if error is not None else None
    width = _width(plan)
    n, bad = outcome
    measured, failed = gate
    estimation = views.estimation_risk(mae, width, error.n if error else 0)
    execution, validation = views.ratio_risk(bad, n), views.ratio_risk(failed, measured)
    return {
        "lane_id": lane, "worst": worst((estimation, execution, validation)), "estimation_risk": estimation,
        "execution_risk": execution, "validation_risk": validation,
        "signals": {
            "mae_pct": mae, "ci_width_pct": width, "n": n, "failed_or_repeated": bad, "gates_measured": measured,
            "gates_failed": failed,
        },
    }  # fmt: skip


@lru_cache(maxsize=4096)
def _width(plan: tuple[tuple[int, str | None], ...]) -> float | None:
    """How wide the plan's interval of tokens is, as a share of its middle; None where a task was never estimated."""
    known = [(size, json.loads(text).get("effort", {}) if text else {}) for size, text in plan]
    interval = views.interval_of(known, _TOKENS)
    middle = math.sqrt(interval[0] * interval[1]) if interval else 0.0
    return round((interval[1] - interval[0]) / middle, 4) if interval and middle > 0 else None


def drift(registry: Registry, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Per lane, how far the tokens of the last ten projects lay from their estimates (fractions); only lanes with some."""
    found = []
    with registry.reading() as session:
        for lane in snapshot.lanes:
            ids = project_store.newest_projects(session, lane.lane_id, limit=MAX_HISTORY)
            errors = project_store.lane_errors(session, ids, lane.lane_id) if ids else {}
            history = [
                {"project_id": number, "mae_pct": round(errors[number][0].error / errors[number][0].estimated, 4)}
                for number in ids
                if number in errors
            ]
            if history:
                trend = views.trend([point["mae_pct"] for point in history])
                found.append({"lane_id": lane.lane_id, "name": lane.name, "history": history, "trend": trend})
    return found


def gates(registry: Registry, snapshot: Snapshot) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Run → what its gates measured, for the runs that are listed."""
    measured = [one.run_id for one in snapshot.runs if one.gates]
    if not measured:
        return {}
    with registry.reading() as session:
        return store.measured(session, measured)
