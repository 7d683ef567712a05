"""How is a project rehearsed, by its priors or by really running a sample of it?

*Forecast*: a stratified sample is priced from what is believed now; nothing is submitted and nothing spent. *Canary*: the
sample runs at the executor with its writes suppressed, through the same start as any run, so that key, approval, kill switch,
budget and passport hold for it too. Its row is written in the transaction of that start: there is no canary without its
rehearsal. When the run has ended, whoever looks first puts the answer together.

The original's endpoint was dead, its numbers were constants, and its guide said both that a rehearsal is submitted and that
it is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.answers import AnswerCache
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, NoData, NotFound
from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.actions.hearing import heard_at
from plms_pipeline.estimates.outlook import Outlook
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs import rehearsal, sampling
from plms_pipeline.runs.absent import no_project
from plms_pipeline.runs.actions.start import StartPolicy, start_run
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.passport import PassportWorld, PlannedTask
from plms_pipeline.runs.rehearsal_prices import beliefs_of_tasks
from plms_pipeline.runs.sampling import Sample
from plms_pipeline.runs.starting import StartAnswer, StartRequest, checked_key
from plms_pipeline.runs.store import rehearse as store
from plms_pipeline.runs.store.start import plan_of

DEFAULT_PCT: Final = 0.01
MAX_SEED: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A rehearsal as it stands; `answer` is what whoever asked is told. `replayed`: the key had been answered before."""

    rehearsal_id: str
    state: str
    run_id: str | None
    answer: dict[str, Any]
    replayed: bool = False

    @property
    def is_running(self) -> bool:
        """Whether its run has not ended yet."""
        return self.state == "running"


def rehearse_by_priors(
    registry: Registry, project_id: int, *, pct: float, seed: int | None, clock: Clock, ids: NewId, actor: Actor, alpha: float,
    write_sandbox: bool = False,
) -> Rehearsed:  # fmt: skip
    """Price a stratified sample of a project, and the whole, from what is believed now; kept as its newest rehearsal.

    Args:
        pct: share of the tasks, a fraction in (0, 1].
        seed: draws the sample; None: a new one, told in the answer.

    Raises:
        NotFound: no such project.
        Conflict: it has no tasks (`no_tasks`).
        BadInput: `pct` or `seed` cannot be used.
    """
    now, rehearsal_id = clock.now(), ids()
    seed = _checked_seed(rehearsal.seed_of(rehearsal_id) if seed is None else seed)
    with registry.reading() as session:
        plan = _plan(session, project_id)
        sample = sampling.draw(plan, pct, np.random.default_rng(seed))
        found = _extrapolated(session, plan, sample, None, now=now, alpha=alpha)
    answer = {
        **_head(rehearsal_id, project_id, None, "forecast", "done", seed, write_sandbox=write_sandbox),
        **found.answer,
        "risk_score": found.risk_score,
    }
    with registry.writing() as session:
        store.put(
            session, rehearsal_id=rehearsal_id, project_id=project_id, run_id=None, mode="forecast", pct=pct, seed=seed,
            answer=answer, actor=actor.name, now=now,
        )  # fmt: skip
        record(
            session, at=now, actor=actor, action="project.rehearse", subject=f"project:{project_id}", outcome="done",
            details={"rehearsal_id": rehearsal_id, "mode": "forecast", "n_sample": sample.n_sample},
        )  # fmt: skip
    return Rehearsed(rehearsal_id, "done", None, answer)


def start_canary(
    registry: Registry, project_id: int, *, key: str | None, pct: float, seed: int | None, clock: Clock, ids: NewId,
    actor: Actor, world: PassportWorld, stopped: str | None, policy: StartPolicy,
    cache: AnswerCache | None = None,
) -> Rehearsed:  # fmt: skip
    """Start a run of a stratified sample of a project with its writes suppressed, once per key.

    Args:
        seed: draws the sample; None: derived from the key, so that a repetition draws the same.

    Raises:
        NotFound, Conflict, BadInput, Unprocessable: as `start_run`, and what a sample refuses.
    """
    name = checked_key(key, policy.keys)
    body = {"mode": "canary", "rehearsal_pct": pct, "seed": seed, "write_sandbox": True}
    drawn_with = _checked_seed(rehearsal.seed_of(f"{actor.name}\n{name}") if seed is None else seed)
    with registry.reading() as session:
        sample = sampling.draw(_plan(session, project_id), pct, np.random.default_rng(drawn_with))

    def beside(session: Session, run_id: str, now: datetime) -> None:
        store.put(
            session, rehearsal_id=run_id, project_id=project_id, run_id=run_id, mode="canary", pct=pct, seed=drawn_with,
            answer=None, actor=actor.name, now=now,
        )  # fmt: skip

    started: StartAnswer = start_run(
        registry, clock=clock, ids=ids, actor=actor,
        request=StartRequest(
            project_id, name, run_kind="rehearsal", write_sandbox=True, body=body,
            path=f"/api/projects/{project_id}/simulate", tasks=frozenset(sample.tasks), rehearsal_pct=sample.actual_pct,
            strata_coverage=sample.strata_coverage,
        ),
        world=world, stopped=stopped, policy=policy, cache=cache, beside=beside,
    )  # fmt: skip
    with registry.reading() as session:
        row = store.of_run(session, started.run_id)
        if row is None:
            raise Conflict(
                f"The Idempotency-Key {name} started run {started.run_id}, which is no rehearsal; use a new key.",
                code="no_rehearsal",
            )
        return _told(session, row, replayed=started.replayed)


def finish_canaries(registry: Registry, *, clock: Clock, alpha: float, limit: int = 20) -> int:
    """Put together the answers of canaries whose runs have ended; how many."""
    with registry.reading() as session:
        due = store.ended_but_open(session, limit=limit)
    return sum(_finish(registry, rehearsal_id, clock=clock, alpha=alpha) for rehearsal_id in due)


def newest_rehearsal(
    registry: Registry, project_id: int, *, clock: Clock, alpha: float, mode: str | None = None
) -> Rehearsed:
    """The newest rehearsal of a project; a canary whose run has ended is finished first.

    Raises:
        NotFound: no such project.
        NoData: it was never rehearsed (`no_rehearsal`).
    """
    with registry.reading() as session:
        if not store.project_exists(session, project_id):
            raise no_project(project_id)
        row = store.newest(session, project_id, mode)
        if row is None:
            raise NoData(
                f"Project {project_id} was never rehearsed; POST to this address or `plms run rehearse {project_id}` does it.",
                code="no_rehearsal",
            )
    return looked_at(registry, row.rehearsal_id, clock=clock, alpha=alpha)


def looked_at(
    registry: Registry, rehearsal_id: str, *, clock: Clock, alpha: float, replayed: bool = False
) -> Rehearsed:
    """A rehearsal as it stands, finished first if its run has ended.

    Raises:
        NotFound: no such rehearsal.
    """
    with registry.reading() as session:
        row = store.row_of(session, rehearsal_id)
        if row is None:
            raise NotFound(f"There is no rehearsal {rehearsal_id[:80]!r}.", code="rehearsal_not_found")
        if (
            row.state != "running"
            or row.run_id is None
            or not is_terminal("run", store.run_state(session, row.run_id)[0])
        ):
            return _told(session, row, replayed=replayed)
    _finish(registry, rehearsal_id, clock=clock, alpha=alpha)
    with registry.reading() as session:
        row = store.row_of(session, rehearsal_id)
        assert row is not None  # noqa: S101 - rehearsals are never deleted
        return _told(session, row, replayed=replayed)


def _finish(registry: Registry, rehearsal_id: str, *, clock: Clock, alpha: float) -> bool:
    now = clock.now()
    with registry.reading() as session:
        row = store.row_of(session, rehearsal_id)
        if row is None or row.run_id is None:
            return False
        plan = plan_of(session, row.project_id)
        ended = _ended(session, row.run_id)
        sample = sampling.found_again(plan, row.requested_pct, [each.task_id for each in ended])
        status, validation = store.run_state(session, row.run_id)
        found = _extrapolated(session, plan, sample, ended, now=now, alpha=alpha)
    state = "done" if any(each.spent for each in ended) else "failed"
    answer = {
        **_head(rehearsal_id, row.project_id, row.run_id, "canary", state, row.seed, write_sandbox=True),
        "run_status": status, "validation": validation, **found.answer, "risk_score": found.risk_score,
    }  # fmt: skip
    with registry.writing() as session:
        return store.finish(session, rehearsal_id, state=state, answer=answer, risk_score=found.risk_score, now=now)


def _extrapolated(
    session: Session, plan: Sequence[PlannedTask], sample: Sample, ended: Sequence[rehearsal.Ended] | None, *, now: datetime,
    alpha: float,
) -> rehearsal.Result:  # fmt: skip
    beliefs = beliefs_at(session, now, alpha=alpha)
    corrections = kept.corrections(session, on=now.date())
    heard = heard_at(session, now)
    found = beliefs_of_tasks(beliefs, corrections, plan, heard if isinstance(heard, Outlook) else None)
    result = rehearsal.rehearsed(plan, sample, found, ended)
    return result if heard is None else replace(result, answer={**result.answer, "by": heard.as_json()})


def _ended(session: Session, run_id: str) -> list[rehearsal.Ended]:
    attempts: defaultdict[str, list[store.Attempt]] = defaultdict(list)
    for attempt in store.attempts_of(session, run_id):
        attempts[attempt.task_id].append(attempt)
    failed = store.measured_failures(session, run_id)
    return [
        _outcome(task_id, status == "SUCCESS" and task_id not in failed, attempts[task_id])
        for task_id, status in store.tasks_of(session, run_id)
    ]


def _outcome(task_id: str, is_good: bool, attempts: Sequence[store.Attempt]) -> rehearsal.Ended:  # noqa: FBT001 - a field
    done = [attempt for attempt in attempts if attempt.status == "SUCCESS"]
    took = _measures(done[-1:])
    echo = done[-1].echo_cos if done else None
    return rehearsal.Ended(task_id, is_good, took, _measures(attempts), echo)


def _measures(attempts: Sequence[store.Attempt]) -> dict[Any, float | None]:
    """Sums over attempts; a measure that no attempt knows is left out."""
    found: dict[Any, float | None] = {}
    for measure in ("tokens", "duration_ms", "cost_usd"):
        known = [value for attempt in attempts for value in [getattr(attempt, measure)] if value is not None]
        if known:
            found[measure] = float(sum(known))
    return found


def _told(session: Session, row: store.RehearsalRow, *, replayed: bool) -> Rehearsed:
    if row.answer is not None:
        return Rehearsed(row.rehearsal_id, row.state, row.run_id, row.answer, replayed)
    plan = plan_of(session, row.project_id)
    names = [task_id for task_id, _ in store.tasks_of(session, row.run_id or "")]
    sample = sampling.found_again(plan, row.requested_pct, names)
    status, validation = store.run_state(session, row.run_id) if row.run_id else ("QUEUED", "pending")
    answer = {
        **_head(row.rehearsal_id, row.project_id, row.run_id, row.mode, row.state, row.seed, write_sandbox=True),
        "run_status": status, "validation": validation, "sampling_metrics": sample.metrics(),
        "warnings": list(sample.warnings),
    }  # fmt: skip
    return Rehearsed(row.rehearsal_id, row.state, row.run_id, answer, replayed)


def _head(
    rehearsal_id: str, project_id: int, run_id: str | None, mode: str, state: str, seed: int, *, write_sandbox: bool
) -> dict[str, Any]:
    return {
        "rehearsal_id": rehearsal_id, "project_id": project_id, "run_id": run_id, "mode": mode, "state": state, "seed": seed,
        "write_sandbox": write_sandbox,
    }  # fmt: skip


def _plan(session: Session, project_id: int) -> list[PlannedTask]:
    if not store.project_exists(session, project_id):
        raise no_project(project_id)
    return list(plan_of(session, project_id))


def _checked_seed(seed: int) -> int:
    if not 0 <= seed <= MAX_SEED:
        raise BadInput(f"The seed {seed} is out of range; give 0 to 2^53 - 1.", code="bad_seed")
    return seed
