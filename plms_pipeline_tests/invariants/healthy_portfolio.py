"""What the portfolio leaves beside a run of ours: its slot, its money, its letter, its obligation."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import Purse, project_account
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.rules import Failure
from plms_pipeline.portfolio.store import slots
from plms_pipeline.registry.tables import Obligation, Observation, RunwaySnapshot
from plms_pipeline.runs.ids import card_key


def beside(session: Session, project_id: int, run_id: str, kind: str, at: datetime) -> None:
    """As a scheduler, a settlement, a retrier and an observer would have left it."""
    key, ended = card_key(run_id, "t1", 1), at + timedelta(minutes=5)
    account = project_account(project_id)
    ledger.charge(
        session, entry_key="opening", purses=[Purse(account, Decimal(2))], amount=Decimal(0), subject="opening",
        actor="test", now=at, project_id=project_id,
    )  # fmt: skip
    if kind == "rehearsal":
        # What nobody reserved is money all the same.
        ledger.settle(
            session, entry_key=f"settle:{key}", subject=key, amount=Decimal("0.18"), actor="test", now=ended,
            accounts=[account], project_id=project_id, run_id=run_id,
        )  # fmt: skip
        return
    session.add(
        RunwaySnapshot(
            project_id=project_id, at=at, spent_usd=Decimal("0.18"), reserved_usd=Decimal(0), budget_usd=Decimal(2),
            minutes_left=50.0, minutes_low=20.0, minutes_high=90.0, final_usd=0.36, final_low=0.2, final_high=0.6,
            overrun_usd=0.0, tasks_left=1, status="ok",
        )
    )  # fmt: skip
    slots.take(
        session, slot_id=f"slot-{run_id}", resource="lane:4200", subject=key, cap=4, holder="h", project_id=project_id,
        run_id=run_id, now=at, expires_at=ended,
    )  # fmt: skip
    ledger.reserve_all(
        session, entry_key=f"reserve:{key}", purses=[Purse(project_account(project_id), Decimal(2))],
        amount=Decimal("0.5"), subject=key, actor="test", now=at, project_id=project_id, run_id=run_id,
    )  # fmt: skip
    ledger.settle(
        session, entry_key=f"settle:{key}", subject=key, amount=Decimal("0.18"), actor="test", now=ended,
        project_id=project_id, run_id=run_id,
    )  # fmt: skip
    slots.release(session, "lane:4200", key, now=ended, reason="ended")
    session.add(
        Obligation(
            obligation_id=f"o-{run_id}", subject_type="run", subject_id=run_id, evidence_kind="provider_snapshot",
            obs_point="submission", lookup_ref="x", config_digest="0" * 64, accepted_at=at, deadline_at=ended,
            state="terminal",
        )
    )  # fmt: skip
    session.flush()
    session.add(
        Observation(
            obligation_id=f"o-{run_id}", obs_point="submission", evidence_kind="provider_snapshot", found=True, reason="ok",
            wait_ms=10, queue_ms=0, polls=1, errors=0, observer_id="test", config_digest="0" * 64, at=ended,
        )
    )  # fmt: skip
    if kind == "baseline":
        letter = letters.put(
            session,
            Failure("run", run_id, "connection reset", project_id=project_id, run_id=run_id),
            now=at,
            actor="test",
        )
        letters.recover(session, letter.letter_id, now=ended, actor="test")
