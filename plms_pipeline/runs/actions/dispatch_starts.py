"""How does the executor learn of a run whose turn it is?

The run is claimed together with its place among the project's active runs, announced under its own id, and RUNNING once the
executor has taken it; a crash in between announces it again, which the executor answers as a duplicate.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy.orm import Session

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.pas.client import PasRefused
from plms_pipeline.pas.protocol import BudgetCaps, StartRun
from plms_pipeline.portfolio.store import slots, switches
from plms_pipeline.portfolio.switch import reason_in
from plms_pipeline.runs.actions.dispatch_tick import (
    DISPATCHER,
    LEASE,
    Tick,
    Unsendable,
    give_up,
    message,
    sendable,
    skip,
    try_later,
)
from plms_pipeline.runs.actions.evidence import owe_snapshot
from plms_pipeline.runs.actions.queueing import queue_ready
from plms_pipeline.runs.lifecycle import may_follow
from plms_pipeline.runs.starting import moves_project
from plms_pipeline.runs.store import announcing, outbox
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store.cancel import status_of
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.outbox import Effect
from plms_pipeline.runs.store.transitions import move_project, move_run, move_task

MOST_RUNS = 50
EXECUTOR_RUNS = "executor:runs"


def announce(tick: Tick, *, max_runs: int | None = None) -> None:
    """Announce every run whose turn it is, until the executor is away or the kill switch is on.

    Args:
        max_runs: how many runs of all projects the executor is given at once; None: as many as there are.
    """
    with tick.registry.asking() as ask:
        projects = announcing.projects_with_due_starts(ask, tick.clock.now(), limit=MOST_RUNS)
    for project_id in projects:
        while tick.may_go_on():
            with tick.registry.writing() as session:
                now, effect = tick.clock.now(), None
                if reason_in(switches.checked(session), project_id=project_id) is None:
                    effect = announcing.claim_start(
                        session, project_id, holder=tick.holder, now=now, lease_until=now + LEASE,
                        only_known=max_runs is not None and _is_full(session, max_runs),
                    )  # fmt: skip
            if effect is None:
                break
            _announce_one(tick, effect)


def _is_full(session: Session, max_runs: int) -> bool:
    """Whether the executor has as many runs as it bears; nobody else decides about that until this session ends."""
    slots.lock(session, EXECUTOR_RUNS)
    return announcing.active_runs(session) >= max_runs


def _announce_one(tick: Tick, effect: Effect) -> None:
    with tick.registry.reading() as session:
        run = store.run_facts(session, effect.subject_id)
        cards = store.cards_of(session, effect.subject_id) if tick.pas.takes_whole_runs else []
    if run is None:
        give_up(tick, effect, "there is no such run")
        return
    if not run.has_passport:
        _refuse_run(tick, effect, run, Unsendable("it has no passport, or not the one that it was started with"))
        return
    try:
        announcement = sendable(StartRun, _announcement(run, effect))
        accepted = tick.pas.submit_run(announcement, [message(tick, card, run) for card in cards])
    except Unavailable as error:
        try_later(tick, effect, error)
        return
    except (PasRefused, Unsendable) as error:
        _refuse_run(tick, effect, run, error)
        return
    _record_announced(tick, effect, run, accepted.run_id, cards)


def _announcement(run: RunFacts, effect: Effect) -> dict[str, object]:
    """What the executor is told, the same at every attempt: another word under a known run id is refused for good.

    The budget is therefore the one that was left when the run was asked for; what it is now stands in the project.
    """
    left = (effect.payload or {}).get("budget_usd")
    caps = BudgetCaps(budget_usd=None if left is None else Decimal(left))
    return {
        "project_id": run.project_id, "run_id": run.run_id, "run_kind": run.run_kind, "tasks_total": run.tasks_total,
        "rehearsal_pct": run.rehearsal_pct, "budget_caps": caps,
        "passport_sha256": run.passport_sha256, "write_sandbox": run.write_sandbox,
        "provider_matrix": run.provider_matrix,
    }  # fmt: skip


def _record_announced(tick: Tick, effect: Effect, run: RunFacts, executor_id: str, cards: list[Card]) -> None:
    now = tick.clock.now()
    with tick.registry.writing() as session:
        outbox.done(session, effect.id, now=now)
        if executor_id != run.run_id:
            store.keep_alias(session, run.run_id, executor_id, now=now)
        moved = move_run(session, run.run_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER)
        if not moved and status_of(session, run.run_id) != "RUNNING":
            # Cancelled while we were telling the executor: it must hear of that too, also where it was told to end the run
            # before it knew it.
            key = f"terminate_run:{run.run_id}:announced"
            outbox.ask(session, "terminate_run", run.run_id, now=now, payload={"reason": "cancelled"}, key=key)
            return
        # Whoever took over after our lease, or an event, may have been faster: then what follows is there already.
        outbox.ask(session, "snapshot", run.run_id, now=now, payload={"moment": "submission"})
        owe_snapshot(session, tick.evidence, run.run_id, clock=tick.clock)
        if not cards:
            queue_ready(session, {run.run_id}, now=now)
        for card in cards:
            store.card_submitted(session, card.card_key, pas_task_id=card.card_key, now=now)
            move_task(session, run.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER)
        # Whoever stood still with the announcement in his hand finds a project that was cancelled since.
        begins = moves_project(run.run_kind, write_sandbox=run.write_sandbox)
        if begins and may_follow("project", run.project_status, "executing"):
            move_project(
                session, run.project_id, expected=run.project_status, new="executing", at=now, actor=DISPATCHER,
                reason=f"run {run.run_id}",
            )  # fmt: skip
    tick.count(announced=1, submitted=len(cards), run_id=run.run_id)


def _refuse_run(tick: Tick, effect: Effect, run: RunFacts, error: PlmsError) -> None:
    """The executor will never take this run: it ends, with the executor's reason."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        outbox.failed(session, effect.id, now=now, error=error.message)
        for card in store.cards_of(session, run.run_id):
            skip(session, card.card_key, run.run_id, card.task_id, "its run was refused", now)
        move_run(session, run.run_id, expected="QUEUED", new="FAIL", at=now, actor=DISPATCHER, reason=error.message)
    tick.count(refused=1, run_id=run.run_id)
