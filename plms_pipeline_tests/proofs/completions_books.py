"""Are the books right after a proof of completions, by the executor's own file and by a rebuild?

The executor's file is written by nothing of ours, so what it says of runs, tasks and costs is a second witness. Priors are
compared with those that all receipts together give.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from plms_pipeline.estimates.beliefs import beliefs_of
from plms_pipeline.estimates.daily import day_facts
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.priors import priors_of
from plms_pipeline.estimates.store.receipts import receipts_of_day
from plms_pipeline.estimates.store.summaries import newest_priors
from plms_pipeline.invariants.rebuild import differing_priors
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    EstimateVersion,
    InboxEvent,
    Project,
    ProjectRun,
    ReceiptDay,
    RunTask,
    SessionReport,
    StateTransition,
    TaskReceipt,
)


@dataclass
class Judged:
    """What a comparison found: what is wrong, and what was counted."""

    problems: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)


def judge(registry: Registry, executor: Path, runs: int) -> Judged:
    """Compare the books with the executor's file, and the priors with a rebuild."""
    judged = Judged()
    pas = sqlite3.connect(executor)
    try:
        judge_runs(judged, registry, executor_cards(pas), runs)
    finally:
        pas.close()
    judge_priors(judged, registry)
    judge_books(judged, registry)
    return judged


def executor_cards(pas: sqlite3.Connection) -> dict[str, dict[tuple[str, int], tuple[str, Decimal | None]]]:
    """Run → (task, attempt) → (state, cost) as the executor's own file has it."""
    found: dict[str, dict[tuple[str, int], tuple[str, Decimal | None]]] = {}
    for run_id, task_id, attempt, state, receipt in pas.execute(
        "SELECT run_id, task_id, attempt, state, receipt_json FROM cards"
    ):
        cost = Decimal(str(json.loads(receipt)["cost_usd"])) if receipt else None
        found.setdefault(run_id, {})[task_id, attempt] = (state, cost)
    return found


def judge_runs(judged: Judged, registry: Registry, cards: dict[str, Any], runs: int) -> None:
    """Each run, task and receipt here is as it is there."""
    counted = judged.counted
    with registry.reading() as session:
        status = {row[0]: row[1] for row in session.execute(select(ProjectRun.run_id, ProjectRun.status))}
        verdicts = Counter(session.scalars(select(ProjectRun.validation)))
        tasks: dict[str, dict[str, tuple[str, str]]] = {}
        for run_id, task_id, state, verdict in session.execute(
            select(RunTask.run_id, RunTask.task_id, RunTask.status, RunTask.validation)
        ):
            tasks.setdefault(run_id, {})[task_id] = (state, verdict)
        receipts: dict[str, dict[tuple[str, int], Decimal | None]] = {}
        for run_id, task_id, attempt, cost in session.execute(
            select(TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskReceipt.cost_usd)
        ):
            receipts.setdefault(run_id, {})[task_id, attempt] = cost
    if len(status) != runs:
        judged.problems.append(f"{len(status)} runs in the books, {runs} were started")
    for run_id, state in status.items():
        counted[state] += 1
        judged.problems += run_problems(
            run_id, state, tasks.get(run_id, {}), receipts.get(run_id, {}), cards.get(run_id, {})
        )
        counted["receipts"] += len(receipts.get(run_id, {}))
    counted.update({f"validation {word}": n for word, n in verdicts.items()})


def run_problems(
    run_id: str, state: str, tasks: dict[str, tuple[str, str]], receipts: dict[Any, Any], cards: dict[Any, Any]
) -> list[str]:
    """How a run here differs from the run there."""
    found = []
    newest = {task: max((a for t, a in cards if t == task), default=None) for task in tasks}
    for task, (mine, _) in tasks.items():
        attempt = newest[task]
        theirs = cards[task, attempt][0] if attempt is not None else "never submitted"
        right = {"succeeded": ("SUCCESS",), "never submitted": ("SKIPPED",)}.get(theirs, ("FAIL",))
        if mine not in right:
            found.append(f"run {run_id} task {task}: {mine} here, {theirs} there")
    should = "SUCCESS" if all(mine == "SUCCESS" for mine, _ in tasks.values()) else "FAIL"
    if state != should:
        found.append(f"run {run_id}: {state}, its tasks say {should}")
    done = {key for key, (theirs, _) in cards.items() if theirs in ("succeeded", "failed")}
    if done != set(receipts):
        found.append(f"run {run_id}: receipts {sorted(set(receipts) ^ done)} are on one side only")
    for key in done & set(receipts):
        theirs_cost = cards[key][1]
        if receipts[key] is not None and theirs_cost is not None and receipts[key] != theirs_cost:
            found.append(f"run {run_id} {key}: cost {receipts[key]} here, {theirs_cost} there")
    return found


def judge_priors(judged: Judged, registry: Registry) -> None:
    """The newest priors are those that a rebuild from all receipts gives."""
    with registry.reading() as session:
        instant = session.scalar(select(func.max(EstimateVersion.as_of)))
        if instant is None:
            judged.problems.append("no prior was ever written")
            return
        facts = []
        for day in session.scalars(select(ReceiptDay.day)):
            until = instant if day == instant.date() else None
            facts += day_facts(receipts_of_day(session, day, until=until), alpha=0.3, forgetting=METHOD.forgetting)
        beliefs = beliefs_of(facts, forgetting=METHOD.forgetting)
        stored = {(row.lane_id, row.provider_name, row.basis): row.priors_json for row in newest_priors(session)}
        judged.problems += differing_priors(stored, priors_of(beliefs), beliefs)
        counted = beliefs.bases["spend"].total().included
        receipts = session.scalar(select(func.count()).select_from(TaskReceipt))
    if counted != receipts:
        judged.problems.append(f"spend priors rest on {counted} receipts, the books hold {receipts}")


def judge_books(judged: Judged, registry: Registry) -> None:
    """No second end of anything, nothing open, a report per run, projects where their runs put them."""
    with registry.reading() as session:
        twice = session.execute(
            select(StateTransition.subject_id)
            .where(StateTransition.is_terminal)
            .group_by(StateTransition.subject_type, StateTransition.subject_id)
            .having(func.count() > 1)
        ).all()
        missing = session.scalars(
            select(ProjectRun.run_id)
            .outerjoin(SessionReport, SessionReport.run_id == ProjectRun.run_id)
            .where(SessionReport.run_id.is_(None))
        ).all()
        pending = session.execute(
            select(InboxEvent.event_id, InboxEvent.outcome).where(InboxEvent.state == "pending")
        ).all()
        broken = session.execute(
            text("SELECT event_id, outcome FROM inbox_events WHERE outcome LIKE 'cannot be settled%'")
        ).all()
        where = Counter(session.scalars(select(Project.status).where(Project.id.in_(select(ProjectRun.project_id)))))
    judged.problems += [f"{subject} ended twice" for (subject,) in twice]
    judged.problems += [f"run {run_id} has no session report" for run_id in missing]
    judged.problems += [f"event {event} was never settled ({said})" for event, said in pending]
    judged.problems += [f"event {event}: {said}" for event, said in broken]
    left = set(where) - {"completed", "needs_review"}
    if left:
        judged.problems.append(f"projects are left {dict(where)}")
