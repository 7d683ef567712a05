"""What starts, hand-overs and settlements leave beside a run of ours, so that a healthy registry holds it too."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import insert
from sqlalchemy.orm import Session

from plms_pipeline.invariants.book import sha256_text
from plms_pipeline.registry.tables import (
    IdempotencyKey,
    InboxEvent,
    JobCard,
    ProviderSnapshot,
    Rehearsal,
    StateTransition,
)
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.ids import card_key

PROJECT_LIFE = ("planning", "pending_approval", "approved", "executing", "validating", "completed")


def told(session: Session, subject: str, subject_id: str, states: tuple[str, ...], at: datetime) -> None:
    """A life in `state_transitions`; the last state is an end."""
    for place, state in enumerate(states):
        session.execute(
            insert(StateTransition).values(
                subject_type=subject, subject_id=subject_id, sequence=place + 1,
                from_state=states[place - 1] if place else None, to_state=state, is_terminal=place == len(states) - 1,
                actor="test", at=at,
            )
        )  # fmt: skip


def beside(session: Session, project_id: int, run_id: str, kind: str, at: datetime) -> None:
    """Card, snapshot, transitions, completion, answer, and for a rehearsal its row."""
    ended = at + timedelta(minutes=5)
    session.add(
        JobCard(
            card_key=card_key(run_id, "t1", 1), run_id=run_id, task_id="t1", attempt=1, lane_id=4200, provider="m",
            state="ENDED", created_at=at, submitted_at=at, ended_at=ended,
        )
    )  # fmt: skip
    state = canonical_json({"providers": {"m": "1"}})
    session.add(
        ProviderSnapshot(
            run_id=run_id, moment="submission", state_json=state, sha256=sha256_text(state), matches=True, taken_at=at
        )
    )
    for subject, name in (("run", run_id), ("task", f"{run_id}/t1")):
        told(session, subject, name, ("QUEUED", "RUNNING", "SUCCESS"), at)
    session.add(
        InboxEvent(
            event_id=f"event-{run_id}", endpoint="task_completed", body_sha256="0" * 64, body_json={}, run_id=run_id,
            task_id="t1", attempt=1, actor="pas", received_at=ended, state="settled", settled_at=ended,
        )
    )  # fmt: skip
    what = "simulate" if kind == "rehearsal" else "start"
    session.add(
        IdempotencyKey(
            user_name="test", method="POST", path=f"/api/projects/{project_id}/{what}", key=f"key-{run_id}",
            body_sha256="0" * 64, state="done", status_code=200, answer_json=canonical_json({"run_id": run_id}),
            run_id=run_id, created_at=at, expires_at=at + timedelta(days=1),
        )
    )  # fmt: skip
    if kind == "rehearsal":
        answer = {"sampling_metrics": {"is_representative": True, "strata_coverage": 1.0}}
        session.add(
            Rehearsal(
                rehearsal_id=run_id, project_id=project_id, run_id=run_id, mode="canary", requested_pct=0.05, seed=1,
                state="done", answer_json=answer, actor="test", created_at=at, ended_at=ended,
            )
        )  # fmt: skip
