"""A control room in the middle of a working day, as rows of the registry: runways of every kind, queues, gates, decisions.

`work(registry, …)` then moves it as settlements, dispatchers and people would, a small transaction at a time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import Purse, project_account
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    BreachEpisode,
    Candidate,
    DeadLetter,
    Decision,
    Hold,
    JobCard,
    KpiReceipt,
    Lane,
    LaneReview,
    Project,
    ProjectPolicy,
    ProjectRun,
    QueuedCard,
    RunTask,
    Slot,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.runs.ids import card_key
from plms_pipeline.runs.store.breaches import HELD_BY

NAMES = (
    "Calculator API", "Invoice parser", "Churn model", "Search relevance", "Data catalogue", "Operator handbook",
    "Token bucket", "Schema registry", "Fraud features", "Support replies", "Weekly digest", "Price forecast",
)  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e\"'&{{7*7}} " + "n" * 60
LANES = (4200, 4201, 4202, 5100, 5101)
PROVIDER = "GPT-5 (2025-08-07) (medium reasoning)"
TASKS = 12


@dataclass(frozen=True)
class Made:
    """One project: its id, run and tasks."""

    project_id: int
    run_id: str
    tasks: tuple[str, ...]


def run_name(number: int) -> str:
    return str(UUID(int=random.Random(number).getrandbits(128), version=4))


def _forecast(mean: float) -> dict[str, Any]:
    def one(middle: float, spread: float) -> dict[str, float]:
        return {"median": middle * 0.8, "mean": middle, "low": middle / spread, "high": middle * spread, "n": 40}

    measures = {"tokens": one(mean * 20_000, 1.18), "duration_ms": one(300_000, 1.6), "cost_usd": one(mean, 2.5)}
    return {"effort": measures, "spend": measures}


def _project(
    session: Session, number: int, *, name: str, status: str, budget: float | None, at: datetime, tasks: int = TASKS,
    cost: float = 0.2,
) -> Made:  # fmt: skip
    session.execute(
        insert(Project).values(
            id=number, name=name, status=status, budget_cost_usd_max=None if budget is None else Decimal(str(budget)),
            created_at=at, started_at=at, estimated_cost_usd=Decimal(str(round(cost * tasks, 6))),
            estimated_tokens=int(20_000 * cost * tasks), estimated_duration_minutes=5 * tasks, created_by="ana@example.com",
            breach_policy=("pause", "ask", "kill")[number % 3],
        )
    )  # fmt: skip
    session.execute(insert(ProjectPolicy).values(project_id=number, owner="ana@example.com", updated_at=at))
    keys = tuple(f"task-{place}" for place in range(tasks))
    for place, key in enumerate(keys):
        estimate = number * 1000 + place
        session.execute(
            insert(TaskEstimate).values(
                id=estimate, project_id=number, task_name=f"Task {place}", order_index=place,
                tmd_lane=LANES[(number + place // 4) % len(LANES)], task_kind="feature", complexity="simple",
                estimated_tokens=int(20_000 * cost), estimated_cost_usd=Decimal(str(cost)),
            )
        )  # fmt: skip
        session.execute(
            insert(TaskPlan).values(
                task_estimate_id=estimate, project_id=number, task_key=key, provider=PROVIDER,
                depends_on_json=[keys[place - 1]] if place % 3 == 2 else [], forecast_json=_forecast(cost),
            )
        )  # fmt: skip
    return Made(number, run_name(number), keys)


def _run(
    session: Session, made: Made, *, status: str, validation: str, began: datetime, ended: datetime | None
) -> None:
    session.execute(
        insert(ProjectRun).values(
            run_id=made.run_id, project_id=made.project_id, status=status, validation=validation, run_kind="baseline",
            created_at=began, started_at=began, completed_at=ended,
        )
    )  # fmt: skip


def _task(session: Session, made: Made, key: str, status: str, validation: str, at: datetime) -> None:
    place = made.tasks.index(key)
    session.execute(
        insert(RunTask).values(
            run_id=made.run_id, task_id=key, lane_id=LANES[(made.project_id + place // 4) % len(LANES)], provider=PROVIDER,
            status=status, validation=validation, queued_at=at, started_at=None if status == "QUEUED" else at,
            completed_at=at + timedelta(minutes=3) if status in ("SUCCESS", "FAIL") else None,
        )
    )  # fmt: skip


def receipt(
    session: Session, made: Made, key: str, *, usd: float, at: datetime, status: str = "SUCCESS", tokens: int = 4000,
    attempt: int = 1,
) -> None:  # fmt: skip
    """What a task took."""
    place = made.tasks.index(key)
    session.execute(
        insert(TaskReceipt).values(
            run_id=made.run_id, task_id=key, attempt=attempt, project_id=made.project_id,
            lane_id=LANES[(made.project_id + place // 4) % len(LANES)], provider=PROVIDER, tokens=tokens, duration_ms=180_000,
            cost_usd=Decimal(str(round(usd, 6))), status=status, started_at=at - timedelta(minutes=3), completed_at=at,
            completed_on=at.date(), natural_key=f"{made.run_id}/{key}/{attempt}", source="plms", row_sha256="0" * 64,
            recorded_at=at,
        )
    )  # fmt: skip


def _gate(
    session: Session, made: Made, key: str, kpi: str, value: float | None, asked: Any, *, passed: bool, at: datetime
) -> None:
    place = made.tasks.index(key)
    session.execute(
        insert(KpiReceipt).values(
            evaluation_id=f"e-{made.run_id}-{key}", task_id=key, run_id=made.run_id,
            lane_id=LANES[(made.project_id + place // 4) % len(LANES)], kpi_name=kpi, kpi_value=value, kpi_threshold=asked,
            pass_=passed, blocks=kpi != "echo_cos", reason=None if passed else "two tests of forty failed", measured_at=at,
        )
    )  # fmt: skip


def _card(session: Session, made: Made, key: str, state: str, at: datetime, *, is_ready: bool = False) -> None:
    place = made.tasks.index(key)
    lane, card = LANES[(made.project_id + place // 4) % len(LANES)], card_key(made.run_id, key, 1)
    session.execute(
        insert(JobCard).values(
            card_key=card, run_id=made.run_id, task_id=key, attempt=1, lane_id=lane, provider=PROVIDER, state=state,
            created_at=at, depends_on_json=[made.tasks[place - 1]] if place % 3 == 2 else [],
        )
    )  # fmt: skip
    if is_ready:
        session.execute(
            insert(QueuedCard).values(
                card_key=card, lane_id=lane, project_id=made.project_id, run_id=made.run_id, run_kind="baseline",
                ready_at=at, not_before=at, rank=0.5 + place / 100,
            )
        )  # fmt: skip
    if state == "SUBMITTED":
        session.execute(
            insert(Slot).values(
                slot_id=f"slot-{card}", resource=f"lane:{lane}", subject=card, project_id=made.project_id,
                run_id=made.run_id, holder="test", cap_then=4, taken_at=at, renewed_at=at,
                expires_at=at + timedelta(hours=1),
            )
        )  # fmt: skip
        amount = Decimal("0.31")
        ledger.reserve_all(
            session, entry_key=f"reserve:{card}", purses=[Purse(project_account(made.project_id), Decimal(1_000_000))],
            amount=amount, subject=card, actor="test", now=at, project_id=made.project_id, run_id=made.run_id,
        )  # fmt: skip


def at_work(
    session: Session, number: int, *, name: str, budget: float | None, spent: float, now: datetime, done: int = 5,
    is_burning: bool = True,
) -> Made:  # fmt: skip
    """A project in the middle of its run: `spent` USD in `done` tasks, two that run, one of the rest ready to go."""
    began = now - timedelta(minutes=24)
    made = _project(
        session, number, name=name, status="executing", budget=budget, at=began, cost=max(0.05, spent / max(1, done))
    )
    _run(session, made, status="RUNNING" if is_burning else "QUEUED", validation="pending", began=began, ended=None)
    ledger.charge(
        session, entry_key=f"charge:{made.run_id}", purses=[Purse(project_account(number), Decimal(1_000_000))],
        amount=Decimal(str(spent)), subject=made.run_id, actor="test", now=began, project_id=number, run_id=made.run_id,
    )  # fmt: skip
    running = made.tasks[done : done + 2] if is_burning else ()
    running = tuple(key for key in running if _has_room(session, made, key))
    for place, key in enumerate(made.tasks):
        if key in running:
            _task(session, made, key, "RUNNING", "pending", began)
            _card(session, made, key, "SUBMITTED", now - timedelta(minutes=2))
        elif place < done:
            bad = (number + place) % 9 == 0
            _task(session, made, key, "FAIL" if bad else "SUCCESS", "failed" if bad else "passed", began)
            ended = now - timedelta(seconds=90 + 100 * (done - place))
            receipt(session, made, key, usd=spent / done, at=ended, status="FAIL" if bad else "SUCCESS",
                    tokens=int(20_000 * spent / done * (1 + 0.06 * (number % 7))))  # fmt: skip
            _gate(session, made, key, "test_pass_rate", 0.93 if bad else 1.0, {">=": 0.95}, passed=not bad, at=ended)
            _gate(session, made, key, "echo_cos", 0.87, {">=": 0.82}, passed=True, at=ended)
        else:
            _task(session, made, key, "QUEUED", "pending", began)
            _card(session, made, key, "WAITING", now - timedelta(minutes=9, seconds=number), is_ready=place % 3 != 2)
    return made


def _has_room(session: Session, made: Made, key: str) -> bool:
    lane = LANES[(made.project_id + made.tasks.index(key) // 4) % len(LANES)]
    cap = session.scalar(select(Lane.cap).where(Lane.lane_id == lane)) or 0
    return (session.scalar(select(func.count()).where(Slot.resource == f"lane:{lane}")) or 0) < cap


def finished(session: Session, number: int, now: datetime, error: float) -> None:
    """A project that is done, whose tokens lay `error` above their estimates: a point of the drift."""
    at = now - timedelta(days=30 - number % 30, minutes=number)
    made = _project(session, number, name=f"Done {number}", status="completed", budget=9, at=at, tasks=6)
    _run(session, made, status="SUCCESS", validation="passed", began=at, ended=at + timedelta(hours=1))
    for key in made.tasks:
        _task(session, made, key, "SUCCESS", "passed", at)
        receipt(session, made, key, usd=0.2, at=at + timedelta(minutes=30), tokens=int(4000 * (1 + error)))


def _decisions(session: Session, now: datetime) -> None:
    """One of everything that waits for a person."""
    asked = now - timedelta(hours=3, minutes=12)
    _project(session, 801, name="Warehouse loader", status="pending_approval", budget=14.5, at=asked, tasks=9, cost=1.1)
    session.execute(_decision("project_approval", "project", "801", "request", "planned for this sprint", asked))
    reviewed = _project(session, 802, name="Report generator", status="needs_review", budget=6, at=asked, tasks=4)
    _run(session, reviewed, status="SUCCESS", validation="failed", began=asked, ended=asked + timedelta(minutes=31))
    for key in reviewed.tasks:
        _task(session, reviewed, key, "SUCCESS", "failed", asked)
        receipt(session, reviewed, key, usd=0.4, at=asked + timedelta(minutes=20))
        _gate(
            session, reviewed, key, "test_pass_rate", 0.9, {">=": 0.95}, passed=False, at=asked + timedelta(minutes=21)
        )
    session.execute(
        _decision(
            "kpi_override",
            "run",
            reviewed.run_id,
            "request",
            "the test machine was out of disk",
            asked,
            {"teach": True},
        )
    )
    failed = _project(session, 803, name="Meeting notes", status="needs_review", budget=3, at=asked, tasks=3)
    _run(session, failed, status="SUCCESS", validation="failed", began=asked, ended=asked + timedelta(minutes=9))
    for key in failed.tasks:
        _task(session, failed, key, "SUCCESS", "failed", asked)
        _gate(session, failed, key, "lint_clean", 0.0, {"==": 1}, passed=False, at=asked + timedelta(minutes=8))
    session.execute(
        insert(Hold).values(
            subject_type="project", subject_id="3", reason="budget breached by more than 25 %: it would end at $9.10 of $7.00",
            placed_by="budget policy", placed_at=now - timedelta(minutes=17),
        )
    )  # fmt: skip
    _breach(session, now - timedelta(minutes=11))
    for place, (error, state, reason) in enumerate(
        (
            ("TRANSIENT", "ready", "api: connection reset by peer"),
            ("PERMANENT", "permanent", "the provider refused the prompt"),
        )
    ):
        session.execute(
            insert(DeadLetter).values(
                letter_id=run_name(9000 + place), kind="run", subject_id=run_name(2), project_id=2, run_id=run_name(2),
                error_class=error, reason=reason, fingerprint=f"{place:016d}", attempts=1 + place, max_attempts=3, state=state,
                next_due_at=now + timedelta(seconds=20), first_failed_at=asked, last_failed_at=now - timedelta(minutes=8),
                last_actor="settlement",
            ) if place == 0 else insert(DeadLetter).values(
                letter_id=run_name(9000 + place), kind="task", subject_id=f"{run_name(4)}/task-3", project_id=4,
                run_id=run_name(4), error_class=error, reason=reason, fingerprint=f"{place:016d}", attempts=0, max_attempts=3,
                state=state, first_failed_at=asked, last_failed_at=now - timedelta(minutes=40), last_actor="settlement",
            )
        )  # fmt: skip
    session.execute(
        insert(LaneReview).values(
            review_id=run_name(9100), lane_id=4200, week_of="2026-02-23", field="cap", subject="", current_json=4,
            recommended_json=5, rule="busy_over_90_percent",
            evidence_json={"busy_ratio": 0.97, "error_ratio": 0.011, "ended": 812}, state="proposed", created_at=asked,
        )
    )  # fmt: skip
    _candidates(session, asked)


def _candidates(session: Session, at: datetime) -> None:
    """Two trained models: one that may be approved, one that its gates keep back."""
    for place, blockers in enumerate(([], ["deflated_sharpe", "limit:max_turnover"])):
        session.execute(
            insert(Candidate).values(
                candidate_id=run_name(9200 + place), family="market", folder=f"automation_runs/m{place}",
                **{f"{name}_sha256": f"{place + 1}" * 64 for name in ("model", "evaluation", "data", "manifest", "experiment")},
                trials=place + 1, gates_passed=not blockers, alerts_json=["limit:max_turnover"] if blockers else [],
                action="risk_review" if blockers else "promote", blockers_json=blockers, requested_by="ana@example.com",
                requested_by_verified=not blockers, reason="weekly", created_at=at, expires_at=at + timedelta(days=14),
            )
        )  # fmt: skip


def _breach(session: Session, at: datetime) -> None:
    """A project whose policy asks, held since it was going to pass its budget by a third."""
    made = _project(session, 805, name="Ledger export", status="executing", budget=7, at=at, tasks=4, cost=2.3)
    _run(session, made, status="RUNNING", validation="pending", began=at, ended=None)
    receipt(session, made, made.tasks[0], usd=5.2, at=at)
    for place, key in enumerate(made.tasks):
        _task(session, made, key, "QUEUED" if place else "SUCCESS", "pending", at)
    session.execute(
        insert(Hold).values(
            subject_type="project", subject_id="805", reason="the budget of 7 USD will be passed by 2.1 USD",
            placed_by=HELD_BY, placed_at=at,
        )
    )  # fmt: skip
    session.execute(
        insert(BreachEpisode).values(
            episode_id="e-805", project_id=805, policy="ask", opened_at=at, budget_usd=Decimal(7), decision_id="d-805",
            seen_json={
                "budget_usd": 7.0, "spent_usd": 5.2, "final_usd": 9.1, "final_90": [8.4, 11.3], "overrun_usd": 2.1,
                "overrun_pct": 30.0, "tasks_left": 3,
            },
        )
    )  # fmt: skip


def _decision(
    kind: str,
    subject_type: str,
    subject: str,
    word: str,
    reason: str,
    at: datetime,
    payload: dict[str, Any] | None = None,
) -> Any:
    return insert(Decision).values(
        decision_id=f"d-{kind}-{subject}", kind=kind, subject_type=subject_type, subject_id=subject, decision=word,
        reason=reason, actor="ana@example.com", actor_verified=True, role="owner", payload_json=payload, decided_at=at,
    )  # fmt: skip


def control_room(
    registry: Registry, now: datetime, *, projects: int = 24, seed: int = 1, decisions: bool = True
) -> list[Made]:
    """Everything; the projects at work, which `work` may move."""
    chance = random.Random(seed)
    made = []
    with registry.writing() as session:
        for number in range(1, projects + 1):
            spent = round(chance.uniform(0.4, 9.0), 2)
            # Every fifth one is about to run dry, every seventh has no budget to speak of, every eighth is quiet.
            budget = (
                None if number % 11 == 0 else round(spent * (1.06 if number % 5 == 1 else chance.uniform(1.4, 12)), 2)
            )
            name = HOSTILE if number == 6 else f"{NAMES[number % len(NAMES)]} {1 + number // len(NAMES)}"
            made.append(
                at_work(session, number, name=name, budget=budget, spent=spent, now=now, done=chance.randint(2, 8),
                        is_burning=number % 8 != 4)
            )  # fmt: skip
        for place in range(11):
            finished(session, 900 + place, now, 0.34 - 0.028 * place + 0.05 * (place % 3))
        if decisions:
            _decisions(session, now)
        if registry.dialect == "postgresql":
            for table in ("projects", "task_estimates"):
                session.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))
    return made


def work(registry: Registry, made: Sequence[Made], chance: random.Random, now: datetime, step: int) -> str:
    """One small transaction, as somebody at work commits it; what was done."""
    one = made[step % len(made)]
    with registry.writing() as session:
        kind = ("budget", "receipt", "hold", "lift")[chance.randrange(4)]
        if kind == "receipt":
            receipt(session, one, one.tasks[0], usd=chance.uniform(0.01, 0.2), at=now, attempt=step + 2)
        elif kind == "hold":
            session.execute(
                insert(Hold).values(
                    subject_type="project", subject_id=str(one.project_id), reason=f"step {step}", placed_by="test",
                    placed_at=now,
                )
            )  # fmt: skip
        elif kind == "lift":
            session.execute(
                update(Hold)
                .where(Hold.subject_type == "project", Hold.subject_id == str(one.project_id), Hold.lifted_at.is_(None))
                .values(lifted_at=now, lifted_by="test")
            )
        session.execute(
            update(Project).where(Project.id == one.project_id).values(budget_cost_usd_max=Decimal(step + 1000) / 100)
        )
    return f"{kind} project {one.project_id}"
