"""How do runs and their cards get to the executor, whatever happens on the way?

One tick: announce runs whose turn it is, ask what the executor's providers are, hand over cards whose dependencies have
succeeded, skip those that never can. Any number of processes may tick at once, and any of them may die between any two
statements: what is to be done is a row, claimed with a lease; what was handed over is told by its own key, so handing it over
again changes nothing; no call goes out while a transaction is open.

`admit` is asked about each card in the transaction that claims it: caps, shares and money have their place there. Without it
cards go in plain order.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.pas.client import UNKNOWN_RUN, PasClient, PasRefused
from plms_pipeline.pas.protocol import BudgetCaps, CardPayload, JobCard, StartRun
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.dispatching import ADMITTED, Admission, staging_path, turn_of, wait_s
from plms_pipeline.runs.passport import mismatch_of
from plms_pipeline.runs.starting import moves_project
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.outbox import Effect
from plms_pipeline.runs.store.transitions import move_project, move_run, move_task

log = logging.getLogger(__name__)
DISPATCHER = "dispatcher"
LEASE = timedelta(seconds=60)
MOST_RUNS = 50
MOST_CARDS = 200

Admit = Callable[[Session, Card], Admission]
Stopped = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """What one tick did. `away` is why the executor could not be reached, `stopped` the reason of the kill switch."""

    announced: int = 0
    submitted: int = 0
    refused: int = 0
    skipped: int = 0
    snapshots: int = 0
    waiting: int = 0
    touched_runs: frozenset[str] = field(default_factory=frozenset)
    away: str | None = None
    stopped: str | None = None

    @property
    def did_something(self) -> bool:
        """Whether anything moved, so that another tick may find more."""
        return bool(self.announced or self.submitted or self.refused or self.skipped or self.snapshots)


@dataclass(slots=True)
class _Tick:
    """What the steps of one tick share."""

    registry: Registry
    clock: Clock
    pas: PasClient
    holder: str
    data_dir: str
    stopped: Stopped
    admit: Admit
    result: DispatchResult = field(default_factory=DispatchResult)

    def count(self, *, run_id: str | None = None, **steps: int) -> None:
        """Add to the result."""
        touched = self.result.touched_runs | ({run_id} if run_id else set())
        counted = {name: getattr(self.result, name) + step for name, step in steps.items()}
        self.result = replace(self.result, touched_runs=frozenset(touched), **counted)

    def may_go_on(self) -> bool:
        """Whether the kill switch is off and the executor answers."""
        if self.result.stopped is None:
            self.result = replace(self.result, stopped=self.stopped())
        return self.result.stopped is None and self.result.away is None


def dispatch_due(
    registry: Registry,
    *,
    clock: Clock,
    pas: PasClient,
    holder: str,
    data_dir: str,
    stopped: Stopped = lambda: None,
    admit: Admit = lambda _session, _card: ADMITTED,
    limit: int = MOST_CARDS,
) -> DispatchResult:
    """Hand over what is due. Call it after every start and completion, and now and then.

    Args:
        holder: names this process in leases.
        data_dir: absolute path under which attempts stage their artifacts.
        stopped: the reason of the kill switch, or None; asked before every call.
        admit: see the module's text.
        limit: how many cards at most.

    Raises:
        Unavailable: the registry is away. An executor that is away is told in the result, and what is due stays due.
    """
    tick = _Tick(registry, clock, pas, holder, data_dir, stopped, admit)
    _announce(tick)
    _effects(tick)
    _cards(tick, limit)
    if tick.result.did_something or tick.result.away:
        result = tick.result
        log.info(
            "dispatched announced=%d submitted=%d refused=%d skipped=%d away=%s",
            result.announced, result.submitted, result.refused, result.skipped, result.away or "-",
        )  # fmt: skip
    return tick.result


def _announce(tick: _Tick) -> None:
    with tick.registry.reading() as session:
        projects = store.projects_with_due_starts(session, tick.clock.now(), limit=MOST_RUNS)
    for project_id in projects:
        while tick.may_go_on():
            now = tick.clock.now()
            with tick.registry.writing() as session:
                effect = store.claim_start(session, project_id, holder=tick.holder, now=now, lease_until=now + LEASE)
            if effect is None:
                break
            _announce_one(tick, effect)


def _announce_one(tick: _Tick, effect: Effect) -> None:
    with tick.registry.reading() as session:
        run = store.run_facts(session, effect.subject_id)
        cards = store.cards_of(session, effect.subject_id) if tick.pas.takes_whole_runs else []
    if run is None:
        _give_up(tick, effect, "the run has no passport")
        return
    matrix = json.loads(run.passport_text)["provider_matrix"]
    message = StartRun.model_validate(
        {
            "project_id": run.project_id, "run_id": run.run_id, "run_kind": run.run_kind, "tasks_total": run.tasks_total,
            "rehearsal_pct": run.rehearsal_pct, "budget_caps": BudgetCaps(budget_usd=run.budget_usd),
            "passport_sha256": run.passport_sha256, "provider_matrix": matrix, "write_sandbox": run.write_sandbox,
        }
    )  # fmt: skip
    try:
        accepted = tick.pas.submit_run(message, [_message(tick, card, run) for card in cards])
    except Unavailable as error:
        _try_later(tick, effect, error)
        return
    except PasRefused as error:
        _refuse_run(tick, effect, run, error)
        return
    _record_announced(tick, effect, run, accepted.run_id, cards)


def _record_announced(tick: _Tick, effect: Effect, run: RunFacts, executor_id: str, cards: list[Card]) -> None:
    now = tick.clock.now()
    with tick.registry.writing() as session:
        outbox.done(session, effect.id, now=now)
        if executor_id != run.run_id:
            store.keep_alias(session, run.run_id, executor_id, now=now)
        if not move_run(session, run.run_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER):
            # Cancelled while we were telling the executor: it must hear of that too.
            outbox.ask(session, "terminate_run", run.run_id, now=now, payload={"reason": "cancelled"})
            return
        outbox.ask(session, "snapshot", run.run_id, now=now, payload={"moment": "submission"})
        for card in cards:
            store.card_submitted(session, card.card_key, pas_task_id=card.card_key, now=now)
            move_task(session, run.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER)
        if moves_project(run.run_kind, write_sandbox=run.write_sandbox) and run.project_status != "executing":
            move_project(
                session, run.project_id, expected=run.project_status, new="executing", at=now, actor=DISPATCHER,
                reason=f"run {run.run_id}",
            )  # fmt: skip
    tick.count(announced=1, submitted=len(cards), run_id=run.run_id)


def _refuse_run(tick: _Tick, effect: Effect, run: RunFacts, error: PasRefused) -> None:
    """The executor will never take this run: it ends, with the executor's reason."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        outbox.failed(session, effect.id, now=now, error=error.message)
        for card in store.cards_of(session, run.run_id):
            _skip(session, card.card_key, run.run_id, card.task_id, "the executor refused the run", now)
        move_run(session, run.run_id, expected="QUEUED", new="FAIL", at=now, actor=DISPATCHER, reason=error.message)
    tick.count(refused=1, run_id=run.run_id)


def _give_up(tick: _Tick, effect: Effect, error: str) -> None:
    with tick.registry.writing() as session:
        outbox.failed(session, effect.id, now=tick.clock.now(), error=error)


def _try_later(tick: _Tick, effect: Effect, error: PlmsError) -> None:
    """The executor is away: the effect is due again, and this tick asks no more of it."""
    wait = max(wait_s(effect.attempts), float(error.retry_after_s or 0))
    with tick.registry.writing() as session:
        outbox.later(session, effect.id, due_at=tick.clock.now() + timedelta(seconds=wait), error=error.message)
    tick.result = replace(tick.result, away=error.message)


def _effects(tick: _Tick) -> None:
    """What else was asked of the executor: snapshots, pauses, ends."""
    while tick.result.away is None:
        now = tick.clock.now()
        with tick.registry.writing() as session:
            claimed = outbox.claim(
                session, tuple(_EFFECTS), holder=tick.holder, now=now, lease_until=now + LEASE, limit=1
            )
        if not claimed:
            return
        effect = claimed[0]
        try:
            _EFFECTS[effect.kind](tick, effect)
        except Unavailable as error:
            _try_later(tick, effect, error)
        except PasRefused as error:
            # Unknown or ended over there: there is nothing left to stop.
            _give_up(tick, effect, error.message)


def _snapshot(tick: _Tick, effect: Effect) -> None:
    state, health = tick.pas.provider_state(), tick.pas.health()
    with tick.registry.reading() as session:
        run = store.run_facts(session, effect.subject_id)
    if run is None:
        _give_up(tick, effect, "the run has no passport")
        return
    now = tick.clock.now()
    stated = canonical_json(
        {
            "providers": state.providers, "capabilities": sorted(health.capabilities),
            "taken_at": state.taken_at.isoformat(),
        }
    )  # fmt: skip
    mismatch = mismatch_of(json.loads(run.passport_text)["provider_matrix"], state.providers)
    row = {
        "run_id": run.run_id, "moment": str((effect.payload or {}).get("moment", "submission")), "state_json": stated,
        "sha256": hashlib.sha256(stated.encode()).hexdigest(), "matches": mismatch is None, "mismatch": mismatch,
        "taken_at": now,
    }  # fmt: skip
    with tick.registry.writing() as session:
        store.keep_snapshot(session, row)
        outbox.done(session, effect.id, now=now)
    if not row["matches"]:
        log.warning("provider_drift run_id=%s mismatch=%s", run.run_id, row["mismatch"])
    tick.count(snapshots=1, run_id=run.run_id)


def _tell_run(tick: _Tick, effect: Effect) -> None:
    """Pause, resume or end a run over there."""
    reason = str((effect.payload or {}).get("reason", ""))
    with tick.registry.reading() as session:
        run = store.run_facts(session, effect.subject_id)
    name = effect.subject_id if run is None or run.executor_id is None else run.executor_id
    told = {"terminate_run": tick.pas.terminate, "pause_run": tick.pas.pause, "resume_run": tick.pas.resume}
    told[effect.kind](name, reason)
    with tick.registry.writing() as session:
        outbox.done(session, effect.id, now=tick.clock.now())


_EFFECTS: dict[str, Callable[[_Tick, Effect], None]] = {
    "snapshot": _snapshot,
    "terminate_run": _tell_run,
    "pause_run": _tell_run,
    "resume_run": _tell_run,
}


def _cards(tick: _Tick, limit: int) -> None:
    with tick.registry.reading() as session:
        cards = store.waiting(session, tick.clock.now())
        states = store.task_states(session, {card.run_id for card in cards})
    turn = turn_of(cards, states)
    by_key = {card.card_key: card for card in cards}
    for key, reason in turn.hopeless.items():
        card = by_key[key]
        now = tick.clock.now()
        with tick.registry.writing() as session:
            skipped = _skip(session, key, card.run_id, card.task_id, reason, now)
        if skipped:
            tick.count(skipped=1, run_id=card.run_id)
    runs: dict[str, RunFacts | None] = {}
    for done, key in enumerate(turn.ready):
        if done >= limit or not tick.may_go_on():
            tick.count(waiting=len(turn.ready) - done)
            return
        claimed = _claim(tick, key)
        if claimed is None:
            continue
        if claimed.run_id not in runs:
            with tick.registry.reading() as session:
                runs[claimed.run_id] = store.run_facts(session, claimed.run_id)
        _submit(tick, claimed, runs[claimed.run_id])


def _skip(session: Session, key: str, run_id: str, task_id: str, reason: str, now: datetime) -> bool:
    """A task that will never be handed over: SKIPPED, and so is its card CANCELLED."""
    if not store.card_cancelled(session, key, now=now, error=reason):
        return False
    move_task(session, run_id, task_id, expected="QUEUED", new="SKIPPED", at=now, actor=DISPATCHER, reason=reason)
    return True


def _claim(tick: _Tick, key: str) -> Card | None:
    """The card, ours for the time of the lease; None when somebody else has it or it is not admitted."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        card = store.claim_card(session, key, holder=tick.holder, now=now, lease_until=now + LEASE)
        if card is None:
            return None
        admission = tick.admit(session, card)
        if not admission.admitted:
            store.card_released(session, key, not_before=None, error=admission.reason)
    if not admission.admitted:
        tick.count(waiting=1)
        return None
    return card


def _submit(tick: _Tick, card: Card, run: RunFacts | None) -> None:
    if run is None:
        _refuse_card(tick, card, "its run has no passport")
        return
    try:
        accepted = tick.pas.submit_card(_message(tick, card, run))
    except Unavailable as error:
        wait = max(wait_s(card.submissions), float(error.retry_after_s or 0))
        _release(tick, card, wait, error.message)
        tick.result = replace(tick.result, away=error.message)
        return
    except PasRefused as error:
        if error.pas_code == UNKNOWN_RUN:
            # Whether the executor lost the run is for the reconciliation to say; until then the card waits.
            _release(tick, card, wait_s(card.submissions), error.message)
        else:
            _refuse_card(tick, card, error.message)
        return
    now = tick.clock.now()
    with tick.registry.writing() as session:
        if store.card_submitted(session, card.card_key, pas_task_id=accepted.pas_task_id, now=now):
            move_task(session, card.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER)
    tick.count(submitted=1, run_id=card.run_id)


def _release(tick: _Tick, card: Card, wait: float, error: str) -> None:
    not_before = tick.clock.now() + timedelta(seconds=wait)
    with tick.registry.writing() as session:
        store.card_released(session, card.card_key, not_before=not_before, error=error)


def _refuse_card(tick: _Tick, card: Card, error: str) -> None:
    """The executor will never take this card: its task ends with the executor's reason, and what depends on it is skipped."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        store.card_cancelled(session, card.card_key, now=now, error=error)
        move_task(
            session, card.run_id, card.task_id, expected="QUEUED", new="FAIL", at=now, actor=DISPATCHER, reason=error
        )
    tick.count(refused=1, run_id=card.run_id)


def _message(tick: _Tick, card: Card, run: RunFacts) -> JobCard:
    command = card.payload.get("command")
    staging = f"{tick.data_dir.rstrip('/')}/{staging_path(card.run_id, card.task_id, card.attempt)}"
    return JobCard(
        card_key=card.card_key,
        run_id=run.executor_id or card.run_id,
        task_id=card.task_id,
        attempt=card.attempt,
        project_id=card.project_id,
        lane=card.lane_id,
        provider=card.provider,
        provider_version=json.loads(run.passport_text)["provider_matrix"].get(card.provider),
        priority=card.priority,
        deps=card.depends_on,
        payload=CardPayload(
            command=None if command is None else tuple(command),
            artifacts_dir=staging,
            task_kind=card.payload.get("task_kind"),
            complexity=card.payload.get("complexity"),
        ),
        budget_usd=card.budget_usd,
    )
