"""How is a run repeated, and how do we know that it was?

A replay is a run of its own, started like every other one; what makes it a replay is that its inputs were compared with the
original's passport before, and its files with the original's afterwards. The comparison waits as a row until both runs are
closed, is written beside the replay's passport, and noted in the audit log with its digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.answers import AnswerCache
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict, NoData, PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.absent import no_run
from plms_pipeline.runs.actions.start import POLICY, StartPolicy, start_run
from plms_pipeline.runs.dispatching import wait_s
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.passport import PassportWorld, PlannedTask, is_intact, prd_sha, sha256_of
from plms_pipeline.runs.replaying import Comparison, Difference, compare, differences
from plms_pipeline.runs.starting import METHOD, StartAnswer, StartRequest, checked_key
from plms_pipeline.runs.store import idempotency, outbox
from plms_pipeline.runs.store import replay as store
from plms_pipeline.runs.store import start as plans

LEASE = timedelta(seconds=60)
COMPARER = Actor("replay", is_verified=True)
WriteComparison = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a replay would work on: the original, the digest of the plan as it is now, and what differs."""

    original: store.Original
    plan: tuple[PlannedTask, ...]
    differences: tuple[Difference, ...]

    @property
    def refusing(self) -> tuple[Difference, ...]:
        """The differences that make the inputs others."""
        return tuple(difference for difference in self.differences if difference.refuses)


def check_replay(registry: Registry, run_id: str, *, world: PassportWorld) -> Checked:
    """Compare what a replay would work on with the passport of its original. Writes nothing.

    Raises:
        NotFound: no such run.
        Conflict: the run has not ended (`run_not_ended`), has no passport (`no_passport`), or its passport is not what it was
            (`passport_altered`): there is nothing that could be trusted.
    """
    with registry.reading() as session:
        found = store.original(session, run_id)
        if found is None:
            raise no_run(run_id)
        document = _trusted(found)
        plan = plans.plan_of(session, found.project_id)
        policies = {"gates_sha256": sha256_of(plans.gates_in_force(session))}
    if found.is_sample:
        wanted = {entry["task_id"] for entry in document["plan"]}
        plan = plans.restricted(plan, wanted)
    return Checked(found, tuple(plan), tuple(differences(document, plan, world, policies)))


def _trusted(found: store.Original) -> dict[str, Any]:
    if not is_terminal("run", found.status):
        raise Conflict(
            f"Run {found.run_id} is {found.status}: what has not ended cannot be repeated.", code="run_not_ended"
        )
    if found.passport_text is None or found.passport_sha256 is None:
        raise Conflict(
            f"Run {found.run_id} has no passport: nobody knows what it worked on, so nothing can repeat it.",
            code="no_passport",
        )
    is_noted = found.noted_sha256 in (None, found.passport_sha256)
    if not is_intact(found.passport_text, found.passport_sha256) or not is_noted:
        raise Conflict(
            f"The passport of run {found.run_id} is not what it was when the run started (its SHA-256 differs); restore the "
            "registry from a backup.",
            code="passport_altered",
        )
    document: dict[str, Any] = json.loads(found.passport_text)
    return document


def replay_run(
    registry: Registry,
    run_id: str,
    *,
    clock: Clock,
    ids: NewId,
    actor: Actor,
    key: str | None,
    world: PassportWorld,
    stopped: str | None,
    accept_drift: bool = False,
    policy: StartPolicy = POLICY,
    cache: AnswerCache | None = None,
) -> tuple[StartAnswer, Checked]:
    """Repeat a run, once per key.

    Args:
        accept_drift: whether other inputs than the original's are accepted; they are noted all the same.

    Raises:
        NotFound, Conflict: as `check_replay` and `start_run`; `replay_differs` names what is not as it was.
    """
    checked = check_replay(registry, run_id, world=world)
    refusing = checked.refusing
    path = f"/api/runs/{run_id}/replay"
    if refusing and not accept_drift and not _was_answered(registry, clock, actor, path, key, policy):
        named = "; ".join(str(difference) for difference in refusing[:5])
        more = f" and {len(refusing) - 5} more" if len(refusing) > 5 else ""
        raise Conflict(
            f"A replay of {run_id} would not repeat it: {named}{more}. `--accept-drift` starts it all the same.",
            code="replay_differs",
        )

    def beside(session: Session, new_run_id: str, now: datetime) -> None:
        outbox.ask(session, store.COMPARE, new_run_id, now=now)
        record(
            session, at=now, actor=actor, action="run.replay", subject=f"run:{new_run_id}", outcome="done",
            details={"parent_run_id": run_id, "drift": [difference.what for difference in checked.differences][:50]},
        )  # fmt: skip

    original = checked.original
    answer = start_run(
        registry, clock=clock, ids=ids, actor=actor, world=world, stopped=stopped, policy=policy, cache=cache, beside=beside,
        request=StartRequest(
            original.project_id, key, run_kind="replay", write_sandbox=original.write_sandbox,
            body={"replay_of": run_id, "accept_drift": accept_drift}, path=path,
            tasks=frozenset(task.task_id for task in checked.plan) if original.is_sample else None,
            parent_run_id=run_id, expected_prd_sha=prd_sha(checked.plan),
        ),
    )  # fmt: skip
    return answer, checked


def _was_answered(
    registry: Registry, clock: Clock, actor: Actor, path: str, key: str | None, policy: StartPolicy
) -> bool:
    """Whether this key was answered before: its answer stays the same, whatever has changed since."""
    unique = idempotency.Unique(actor.name[:255], METHOD, path, checked_key(key, policy.keys))
    with registry.reading() as session:
        known = idempotency.recall(session, unique)
    return known is not None and known.expires_at > clock.now()


def comparison_of(registry: Registry, run_id: str) -> Comparison:
    """Compare the files of a replay with those of its original.

    Raises:
        NotFound: no such run.
        Conflict: it repeats no other run (`no_replay`).
        NoData: one of the two has not ended, so its files are not in the books yet (exit 3).
    """
    with registry.reading() as session:
        if store.original(session, run_id) is None:
            raise no_run(run_id)
        parent = store.parent_of(session, run_id)
        if parent is None:
            raise Conflict(f"Run {run_id} repeats no other run.", code="no_replay")
        for one in (run_id, parent):
            if not store.is_closed(session, one):
                raise NoData(f"Run {one} is not closed yet: its files are not in the books.", code="run_not_closed")
        return compare(run_id, parent, store.digests(session, run_id), store.digests(session, parent))


def compare_due(registry: Registry, *, clock: Clock, holder: str, write: WriteComparison, limit: int = 20) -> int:
    """Write the comparisons of replays that are closed; how many. One that cannot be written is due again later."""
    with registry.reading() as session:
        if not store.any_due(session, clock.now()):
            return 0
    with registry.writing() as session:
        now = clock.now()
        effects = store.claim_due(session, holder=holder, now=now, lease_until=now + LEASE, limit=limit)
    written = 0
    for effect in effects:
        try:
            found = comparison_of(registry, effect.subject_id)
            text = canonical_json(found.as_json())
            write(found.run_id, text + "\n")
        except (OSError, PlmsError) as error:
            with registry.writing() as session:
                due_at = clock.now() + timedelta(seconds=wait_s(effect.attempts))
                outbox.later(session, effect.id, due_at=due_at, error=str(error))
            continue
        outcome = "identical" if found.is_identical else "different"
        with registry.writing() as session:
            outbox.done(session, effect.id, now=clock.now())
            record(
                session, at=clock.now(), actor=COMPARER, action="run.replay.compared", subject=f"run:{found.run_id}",
                outcome=outcome if found.has_outputs else "nothing_to_compare",
                details={"parent_run_id": found.parent_run_id, "sha256": sha256_of(found.as_json())},
            )  # fmt: skip
        written += 1
    return written
