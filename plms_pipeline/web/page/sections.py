"""What does each section of the page say about a snapshot, at the moment in which somebody asks?

Plain values in, JSON out. What depends on the clock (minutes left, ages) is worked out here and nowhere before, so that the
same snapshot serves everybody. What is not known is null.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.budget.runway import BURN_WINDOW, Activity, Spell, runway
from plms_pipeline.portfolio.actions.status import QueuedTask
from plms_pipeline.runs import views
from plms_pipeline.runs.actions.runway import ProjectRunway
from plms_pipeline.web.page.facts import AT_WORK, LaneFacts, ProjectFacts, RunFacts, RunHead, Snapshot

# So many tasks of each lane are listed as waiting.
MOST_OF_A_LANE: Final = 8


def projects(snapshot: Snapshot, now: datetime, only: Collection[int] | None = None) -> dict[str, Any]:
    """How every project stands that is not over; with `only`, those of them that still are, and which are gone."""
    chosen = [one for one in snapshot.projects if only is None or one.project_id in only]
    there = {one.project_id for one in chosen}
    return {
        "as_of": now.isoformat(),
        "projects": [project(one, now) for one in chosen],
        "gone": sorted(number for number in only or () if number not in there),
        "in_all": snapshot.projects_in_all,
    }


def project(facts: ProjectFacts, now: datetime) -> dict[str, Any]:
    """One project with its runway; the arithmetic and the fields are those of `/api/projects/{project_id}/budget-runway`."""
    spent = [float(usd) for ended_at, usd in facts.recent if ended_at > now - BURN_WINDOW]
    found = runway(
        spent=float(facts.spent_usd), reserved=float(facts.reserved_usd), budget=_usd(facts.budget_usd),
        left=facts.left.total,
        activity=Activity(
            facts.active_since, Spell(math.fsum(spent), receipts=len(spent)),
            Spell(float(facts.run_usd), facts.costs.lumpiness, facts.costs.count), facts.durations,
        ),
        now=now,
    )  # fmt: skip
    told = ProjectRunway(facts.project_id, facts.status, facts.breach_policy, found, facts.left).as_json()
    return {
        "project_id": facts.project_id, "name": facts.name, "status": facts.status, "owner": facts.owner,
        "is_paused": facts.held_because is not None, "pause_reason": facts.held_because,
        "breach_policy": facts.breach_policy, "run": _head(facts.run), "planned_tasks": facts.planned_tasks,
        "budget": told["budget"], "runway": told["runway"], "left": told["left"],
        # A plan whose estimate is above its budget is for the approver to judge, and no alarm.
        "runway_status": told["status"] if facts.status in AT_WORK else None,
    }  # fmt: skip


def _head(run: RunHead | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run_id": run.run_id, "status": run.status, "validation": run.validation,
        "tasks": {
            "done": run.done, "failed": run.failed, "running": run.running, "waiting": run.waiting, "skipped": run.skipped,
        },
    }  # fmt: skip


def portfolio(snapshot: Snapshot, queue: Sequence[QueuedTask], now: datetime) -> dict[str, Any]:
    """Lanes with what runs and waits in them, and the tasks that wait, each with the first obstacle in its way."""
    reasons: dict[int, Counter[str]] = {}
    listed = []
    for one in queue:
        counted = reasons.setdefault(one.task.lane_id, Counter())
        counted[one.reason.code] += 1
        if counted.total() <= MOST_OF_A_LANE:
            listed.append(one)
    return {
        "as_of": now.isoformat(),
        "running": sum(lane.running for lane in snapshot.lanes),
        "waiting": sum(lane.waiting for lane in snapshot.lanes),
        "lanes": [_lane(lane, reasons.get(lane.lane_id, Counter()), now) for lane in snapshot.lanes],
        "queue": [one.shown for one in listed],
    }


def _lane(lane: LaneFacts, reasons: Counter[str], now: datetime) -> dict[str, Any]:
    cap = lane.cap if lane.is_active else 0
    return {
        "lane_id": lane.lane_id, "name": lane.name, "description": lane.description, "cap": cap,
        "is_active": lane.is_active, "running": lane.running,
        "utilization": round(lane.running / cap, 4) if cap else None, "waiting": lane.waiting, "ready": lane.ready,
        "oldest_wait_s": None if lane.oldest_at is None else round(max(0.0, (now - lane.oldest_at).total_seconds()), 1),
        "reasons": dict(reasons.most_common()),
    }  # fmt: skip


def runs(snapshot: Snapshot, gates: Mapping[str, Sequence[Mapping[str, Any]]], now: datetime) -> dict[str, Any]:
    """The newest runs with what their gates measured."""
    return {"as_of": now.isoformat(), "runs": [_run(one, gates.get(one.run_id, ())) for one in snapshot.runs]}


def _run(run: RunFacts, gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "run_id": run.run_id, "project_id": run.project_id, "project_name": run.project_name, "run_kind": run.run_kind,
        "status": run.status, "validation": run.validation, "is_let_pass": run.is_let_pass,
        "write_sandbox": run.write_sandbox, "created_at": run.created_at.isoformat(),
        "started_at": _iso(run.started_at), "completed_at": _iso(run.completed_at),
        "tasks": {
            "done": run.done, "failed": run.failed, "running": run.running, "waiting": run.waiting, "skipped": run.skipped,
        },
        "gates": [dict(gate) for gate in gates],
    }  # fmt: skip


def risk(
    lanes: Iterable[LaneFacts], cells: Mapping[int, Mapping[int, Mapping[str, Any]]], snapshot: Snapshot, now: datetime
) -> dict[str, Any]:
    """Projects by lanes: only lanes in which some project has work, only projects with work in a lane."""
    used = {lane for row in cells.values() for lane in row}
    return {
        "as_of": now.isoformat(),
        "lanes": [{"lane_id": lane.lane_id, "name": lane.name} for lane in lanes if lane.lane_id in used],
        "projects": [
            {"project_id": one.project_id, "name": one.name, "cells": list(cells[one.project_id].values())}
            for one in snapshot.projects
            if cells.get(one.project_id)
        ],
    }


def worst(levels: Iterable[str]) -> str:
    """The worst of some risks; unknown only while none of them is known."""
    known = [level for level in levels if level != views.UNKNOWN]
    return max(known, key=(views.LOW, views.MEDIUM, views.HIGH).index) if known else views.UNKNOWN


def _usd(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
