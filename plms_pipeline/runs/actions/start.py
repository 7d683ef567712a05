"""How does a run start, once, however often and by whichever way it is asked for?

One action behind the HTTP endpoint, the Dagster job and the terminal. One transaction reads the project and inserts run,
tasks, passport, cards, first states, the effects that are asked for, and the answer under its key: there is no moment at
which one exists without the others, so a crash leaves either a run with its answer or nothing. The prototype looked the key
up, worked, and stored it afterwards: of twelve parallel requests several started a run.

A cache may know the answer; it is asked before the transaction and told after it, and losing it costs a read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.answers import Answer, AnswerCache, NoCache, cache_key
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict, Unavailable, Unprocessable
from plms_pipeline.portfolio.actions.guards import pass_launcher
from plms_pipeline.portfolio.policies import LauncherPolicy
from plms_pipeline.portfolio.store import switches
from plms_pipeline.portfolio.switch import reason_in
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs import passport as passports
from plms_pipeline.runs.absent import no_project, no_task
from plms_pipeline.runs.actions.start_rows import rows_of
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.lifecycle import STARTABLE
from plms_pipeline.runs.money import PricedPlan, no_room, shown
from plms_pipeline.runs.passport import Passport, PassportWorld
from plms_pipeline.runs.starting import (
    METHOD,
    KeyForm,
    StartAnswer,
    StartRequest,
    answer_body,
    checked_key,
    require_sound,
    startable_states,
)
from plms_pipeline.runs.store import idempotency
from plms_pipeline.runs.store import start as store
from plms_pipeline.runs.store.idempotency import Unique

RETRY_AFTER_S = 1
Beside = Callable[[Session, str, datetime], None]


@dataclass(frozen=True, slots=True)
class StartPolicy:
    """How long answers are remembered, what a key may be, and what bounds a run of a project that is not approved any more."""

    ttl: timedelta = timedelta(hours=24)
    keys: KeyForm = "uuid"
    launcher: LauncherPolicy | None = None


POLICY = StartPolicy()


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal that leaves a fact in the books."""

    error: Conflict


class Raced(Exception):
    """Another process answered the same key first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One start with what it must know: everything but the books."""

    request: StartRequest
    actor: Actor
    world: PassportWorld
    stopped: str | None
    unique: Unique
    body_sha256: str


def asked(
    request: StartRequest, *, actor: Actor, world: PassportWorld, stopped: str | None, policy: StartPolicy
) -> Asked:
    """A start whose form is right.

    Args:
        actor: who asks; keys are unique per actor.
        world: code, interpreter and the executor's providers, gathered beforehand.
        stopped: the reason of the kill switch, or None. A known key is answered all the same: that starts nothing.

    Raises:
        BadInput: no or a malformed key (`invalid_idempotency_key`), an unknown kind (`invalid_run_kind`).
        Unprocessable: a baseline in the sandbox, or a body that is no JSON.
    """
    key = checked_key(request.key, policy.keys)
    require_sound(request)
    unique = Unique(actor.name[:255], METHOD, request.unique_path, key)
    return Asked(request, actor, world, stopped, unique, request.body_sha256)


def start_run(
    registry: Registry,
    *,
    clock: Clock,
    ids: NewId,
    actor: Actor,
    request: StartRequest,
    world: PassportWorld,
    stopped: str | None,
    policy: StartPolicy = POLICY,
    cache: AnswerCache | None = None,
    beside: Beside | None = None,
) -> StartAnswer:
    """Start a run of a project, or give the answer that the same key was given before.

    Args:
        actor: who asks; keys are unique per actor.
        world: code, interpreter and the executor's providers, gathered beforehand.
        stopped: the reason of the flag file, or None; switches in the registry are asked here. A known key is answered all
            the same: that starts nothing.
        cache: finished answers; None when there is none.
        beside: writes, in the same transaction, what a fresh run must never be without (session, run id, now).

    Raises:
        BadInput: no or a malformed key (`invalid_idempotency_key`), an unknown kind (`invalid_run_kind`).
        NotFound: no such project, or a task that its plan does not hold.
        Conflict: `killswitch_on`, `not_approved`, `project_held`, `budget_exceeded`, `no_tasks`, `passport_incomplete`,
            `plan_changed`, or `idempotency_in_progress` (with `retry_after_s`).
            For a run of a project that is not approved any more: `concurrency_limited`, `rate_limited`, `budget_exceeded`.
        Unprocessable: the key was used with another body (`idempotency_key_reused`), or a baseline in the sandbox.
    """
    one = asked(request, actor=actor, world=world, stopped=stopped, policy=policy)
    unique, body_sha256 = one.unique, one.body_sha256
    cache = cache or NoCache()
    cached_under = cache_key(unique.user, unique.method, unique.path, unique.key)
    known = cache.get(cached_under)
    if known is not None:
        return _repeated(unique, body_sha256, known.body_sha256, known.status_code, known.answer)

    def attempt() -> StartAnswer | Refused:
        with registry.writing() as session:
            return start_in(session, one, now=clock.now(), ids=ids, policy=policy, beside=beside)

    answer = _once_more(attempt)
    if isinstance(answer, Refused):
        raise answer.error
    ttl_s = int(policy.ttl.total_seconds())
    if not answer.replayed:
        cache.put(cached_under, Answer(answer.status_code, body_sha256, answer.body), ttl_s=ttl_s)
    return answer


def _once_more(attempt: Callable[[], StartAnswer | Refused]) -> StartAnswer | Refused:
    """Whoever lost the race for a key finds the winner's answer on the second look."""
    for _ in range(2):
        try:
            return attempt()
        except Raced:
            continue
        except idempotency.StillBusy:
            break
    raise in_progress()


def start_in(
    session: Session, one: Asked, *, now: datetime, ids: NewId, policy: StartPolicy, beside: Beside | None = None
) -> StartAnswer | Refused:
    """Start one run in a write transaction that the caller commits; nothing of it may be told before that.

    Raises:
        PlmsError: as `start_run`; whatever was written since the call must be rolled back.
        Raced: another transaction was faster with the same key; on a server only.
    """
    request, unique, body_sha256 = one.request, one.unique, one.body_sha256
    known = idempotency.recall(session, unique)
    if known is not None and known.expires_at <= now:
        idempotency.forget(session, known.row_id)
        known = None
    if known is not None:
        if known.answer_text is None and known.body_sha256 == body_sha256:
            raise in_progress()
        answer = json.loads(known.answer_text or "{}")
        return _repeated(unique, body_sha256, known.body_sha256, known.status_code or 200, answer)
    # In this transaction: a switch that is turned on meanwhile waits until the run is in the books, or is seen here.
    stopped = one.stopped or reason_in(switches.checked(session), project_id=request.project_id)
    if stopped is not None:
        told = f"killswitch_on: nothing starts while the kill switch is on ({stopped}); `plms killswitch off` ends it."
        raise Conflict(told, code="killswitch_on")
    facts = store.project_facts(session, request.project_id)
    plan = _admitted(session, facts, request)
    assert facts is not None  # noqa: S101 - a missing project was refused
    run_id = ids()
    _pass_launcher(session, facts, plan, run_id, now=now, ids=ids, actor=one.actor, policy=policy)
    world = _with_last_state(session, one.world)
    passport = passports.issue(
        project_id=request.project_id, run_id=run_id, run_kind=request.run_kind, write_sandbox=request.write_sandbox,
        plan=plan, world=world, policies={"gates_sha256": store.gates_in_force(session).sha},
        started_at=now, parent_run_id=request.parent_run_id,
    )  # fmt: skip
    if not passport.is_complete:
        return _incomplete(session, passport, world.providers, actor=one.actor, request=request, now=now)
    new = rows_of(passport, plan, request, run_id=run_id, now=now, actor=one.actor, left_usd=facts.left_usd)
    text = canonical_json(
        answer_body(run_id, passport.document["provider_matrix"], [card["card_key"] for card in new.cards])
    )
    store.insert_run(session, new.run)
    mine = idempotency.remember(
        session, unique, body_sha256=body_sha256, status_code=200, answer_text=text, run_id=run_id,
        now=now, expires_at=now + policy.ttl,
    )  # fmt: skip
    if not mine:
        raise Raced
    store.insert_rest(session, new)
    if beside is not None:
        beside(session, run_id, now)
    # Read back from what is kept, so that the first answer and its repetitions are the same bytes.
    return StartAnswer(200, json.loads(text), replayed=False)


def _pass_launcher(
    session: Session,
    facts: store.ProjectFacts,
    plan: PricedPlan,
    run_id: str,
    *,
    now: datetime,
    ids: NewId,
    actor: Actor,
    policy: StartPolicy,
) -> None:
    """A run of a project whose approval is over passes the launcher's guards; others are bound by their project."""
    if policy.launcher is None or facts.status in STARTABLE:
        return
    refusal = pass_launcher(
        session, now=now, ids=ids, policy=policy.launcher, actor=actor, run_id=run_id, project_id=facts.project_id,
        amount_usd=sum((cap or Decimal(0) for cap in plan.caps), Decimal(0)),
    )  # fmt: skip
    if refusal is not None:
        raise refusal.error()


def _repeated(
    unique: Unique, body_sha256: str, first_sha256: str, status_code: int, answer: dict[str, Any]
) -> StartAnswer:
    if body_sha256 != first_sha256:
        raise Unprocessable(
            f"The Idempotency-Key {unique.key} was used for {unique.method} {unique.path} with another body; use a new key for "
            "another start.",
            code="idempotency_key_reused",
        )
    return StartAnswer(status_code, answer, replayed=True)


def in_progress() -> Conflict:
    """Come again: somebody else answers this key at the moment."""
    return Conflict(
        "The same request is being answered right now; repeat it with the same Idempotency-Key.",
        code="idempotency_in_progress", retry_after_s=RETRY_AFTER_S,
    )  # fmt: skip


def _way_to_approval(facts: store.ProjectFacts) -> str:
    approve = f"`plms project approve {facts.project_id}`"
    if facts.status == "planning":
        return f" (`plms project submit {facts.project_id}`, then {approve})"
    return f" ({approve})" if facts.status == "pending_approval" else ""


def _admitted(session: Session, facts: store.ProjectFacts | None, request: StartRequest) -> PricedPlan:
    """The tasks that the run will hold, if the project admits one."""
    if facts is None:
        raise no_project(request.project_id)
    startable = startable_states(request.run_kind, is_repetition=request.parent_run_id is not None)
    if facts.status not in startable:
        raise Conflict(
            f"not_approved: project {facts.project_id} is {facts.status}; a run starts in "
            f"{', '.join(sorted(startable))}{_way_to_approval(facts)}.",
            code="not_approved",
        )
    if facts.held is not None:
        raise Conflict(
            f"Project {facts.project_id} is paused ({facts.held[:200]}); `plms project resume {facts.project_id}` lifts it.",
            code="project_held",
        )
    plan = _sampled(store.plan_of(session, request.project_id), request)
    if not plan:
        raise Conflict(
            f"Project {facts.project_id} has no task to run; give it a plan (`plms project create --from FILE`).",
            code="no_tasks",
        )
    expected = plan.expected_usd
    if facts.budget_usd is not None and facts.spent_usd + expected > facts.budget_usd:
        raise Conflict(
            f"budget_exceeded: project {facts.project_id} spent {shown(facts.spent_usd)} USD and this run is expected to take "
            f"{shown(expected)} more, of a budget of {shown(facts.budget_usd)}; `plms project budget "
            f"{facts.project_id}` raises it.",
            code="budget_exceeded",
        )
    if (refusal := no_room(plan, spent=facts.spent_usd, budget=facts.budget_usd)) is not None:
        raise Conflict(
            f"budget_exceeded: {refusal} `plms project budget {facts.project_id}` raises it.", code="budget_exceeded"
        )
    if request.expected_prd_sha is not None and plan.sha != request.expected_prd_sha:
        raise Conflict(
            f"The plan of project {facts.project_id} changed while its replay was checked; check it again.",
            code="plan_changed",
        )
    return plan


def _sampled(plan: PricedPlan, request: StartRequest) -> PricedPlan:
    """The plan, or the asked-for part of it; a dependency outside that part counts as fulfilled."""
    wanted = request.tasks
    if wanted is None:
        return plan
    unknown = sorted(wanted - {task.task_id for task in plan})
    if unknown:
        raise no_task(request.project_id, unknown[0])
    return store.restricted(plan, wanted)


def _with_last_state(session: Session, world: PassportWorld) -> PassportWorld:
    """While the executor is away, what it stated last about its providers holds; the snapshot after submission will tell."""
    if world.providers is not None and world.capabilities is not None:
        return world
    text = store.last_provider_state(session)
    if text is None:
        return world
    state = json.loads(text)
    providers = world.providers if world.providers is not None else state.get("providers")
    capabilities = world.capabilities if world.capabilities is not None else state.get("capabilities")
    return PassportWorld(
        world.git_commit, world.python_version, world.os, providers,
        None if capabilities is None else tuple(capabilities),
    )  # fmt: skip


def _incomplete(
    session: Session, passport: Passport, providers: Mapping[str, str] | None, *, actor: Actor, request: StartRequest,
    now: datetime,
) -> Refused:  # fmt: skip
    """Nothing starts that could not be repeated; that it was tried is a fact that an alert is made from."""
    missing = list(passport.missing)
    record(
        session, at=now, actor=actor, action="run.start", subject=f"project:{request.project_id}",
        outcome="passport_incomplete", details={"missing": missing, "run_kind": request.run_kind},
    )  # fmt: skip
    # Nobody ever heard the executor: that is a needed system away, whatever else is lacking.
    return Refused(
        Conflict(
            passports.why_incomplete(missing, providers), code="passport_incomplete",
            exit_code=Unavailable.default_exit_code if providers is None else None,
        )
    )  # fmt: skip
