"""How does a run begin, and who may stop it?

The same start again is answered as before; another body under a known run id is refused, and so is a run without tasks.
Lanes, dependencies and run kinds are checked when they arrive: the source's stub took whatever came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from plms_pipeline.errors import Conflict, NotFound, Unprocessable
from plms_pipeline.pas.protocol import ArchitectSubmission, JobCard, RunAccepted, RunAnswer, RunReference, StartRun
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.cards import admit_card
from plms_pipeline.pas.reference.actions.ending import terminate
from plms_pipeline.pas.reference.actions.world import World, digest
from plms_pipeline.pas.reference.machine import RunVerb, has_cycle, run_after
from plms_pipeline.pas.reference.store import Run


def start_run(world: World, start: StartRun) -> RunAccepted:
    """Announce a run; it executes from now on and completes when `tasks_total` tasks have ended.

    Raises:
        Conflict: the run id is known with another body (`run_exists`).
    """
    key, body = start.run_id, digest(start)
    with store.writing(world.db):
        known = _repetition(world, key, body) or (
            store.run_of(world.db, start.run_id) and _refuse_other_body(start.run_id)
        )
        if known:
            return known
        _add(world, start, run_id=start.run_id, key=key, body=body)
    return RunAccepted(run_id=start.run_id)


def submit_whole(world: World, submission: ArchitectSubmission, key: str) -> RunAccepted:
    """Take a whole run, and give it an id of our own (dialect `architect`).

    Args:
        world: the executor.
        submission: the run with all its tasks.
        key: the Idempotency-Key of the request.

    Raises:
        Conflict: another body under a known key (`run_exists`).
        Unprocessable: an unknown lane or dependency, a cycle, a task twice.
    """
    key, body = f"architect/{key}", digest(submission)
    with store.writing(world.db):
        known = _repetition(world, key, body)
        if known:
            return known
        run_id = f"pas-{world.name('run', key)}"
        cards = {card.task_id: card.model_copy(update={"run_id": run_id}) for card in submission.tasks}
        if len(cards) != len(submission.tasks):
            raise Unprocessable("A task stands twice in the submission.", code="task_twice")
        start = StartRun(
            **submission.model_dump(exclude={"tasks", "run_id", "passport_sha256"}),
            run_id=run_id, tasks_total=len(cards), passport_sha256=submission.passport_sha256 or "0" * 64,
        )  # fmt: skip
        _add(world, start, run_id=run_id, key=key, body=body)
        for card in _in_order(cards):
            admit_card(world, card)
    return RunAccepted(run_id=run_id)


def pause_run(world: World, reference: RunReference) -> RunAnswer:
    """Let nothing of the run work until `resume_run`.

    Raises:
        NotFound: no such run (`run_not_found`).
        Conflict: it has ended (`run_ended`).
    """
    with store.writing(world.db):
        run = _moved(world, reference, "pause")
        for card in store.newest_cards(world.db, run.run_id):
            if card.state == "running":
                left = None if card.due_at is None else max(0.0, card.due_at - world.now())
                store.change_card(world.db, card.id, state="paused", left_s=left, due_at=None)
    return RunAnswer(run_id=run.run_id, status=run.state)


def resume_run(world: World, reference: RunReference) -> RunAnswer:
    """Go on, but for tasks that were paused one by one. Raises as `pause_run` does."""
    with store.writing(world.db):
        run = _moved(world, reference, "resume")
        for card in store.newest_cards(world.db, run.run_id):
            if card.state == "paused" and not card.held:
                due = None if card.left_s is None else world.after(card.left_s)
                store.change_card(world.db, card.id, state="running", left_s=None, due_at=due)
    return RunAnswer(run_id=run.run_id, status=run.state)


def terminate_run(world: World, reference: RunReference) -> RunAnswer:
    """End the run now. One that has ended before keeps its end, and the answer says which.

    Raises:
        NotFound: no such run (`run_not_found`).
    """
    with store.writing(world.db):
        run = known_run(world, reference.run_id)
        if run.state not in ("completed", "terminated"):
            terminate(world, run, reference.reason or "asked for")
        run = known_run(world, run.run_id)
    return RunAnswer(run_id=run.run_id, status=run.state)


def known_run(world: World, run_id: str) -> Run:
    """The run.

    Raises:
        NotFound: no such run (`run_not_found`).
    """
    run = store.run_of(world.db, run_id)
    if run is None:
        raise NotFound("Run not found", code="run_not_found")
    return run


def _moved(world: World, reference: RunReference, verb: RunVerb) -> Run:
    run = known_run(world, reference.run_id)
    state = run_after(run.state, verb)
    if state is None:
        raise Conflict(f"Run {run.run_id} is {run.state}; {verb} is for runs that work.", code="run_ended")
    if state != run.state:
        store.change_run(world.db, run.run_id, state=state, reason=reference.reason or None)
    return replace(run, state=state)


def _repetition(world: World, key: str, body: str) -> RunAccepted | None:
    run = store.run_of_request(world.db, key)
    if run is None:
        return None
    if run.body_sha256 != body:
        return _refuse_other_body(run.run_id)
    return RunAccepted(run_id=run.run_id, duplicate=True)


def _refuse_other_body(run_id: str) -> RunAccepted:
    raise Conflict(f"Run already started: {run_id} is known with another body.", code="run_exists")


def _add(world: World, start: StartRun, *, run_id: str, key: str, body: str) -> None:
    cap = start.budget_caps.budget_usd
    store.know_providers(world.db, start.provider_matrix)
    store.add_run(
        world.db,
        Run(
            run_id=run_id, request_key=key, body_sha256=body, project_id=start.project_id, run_kind=start.run_kind,
            tasks_total=start.tasks_total, cap_micro=None if cap is None else store.to_micro(cap),
            sandbox=int(start.write_sandbox), state="executing", reason=None, spend_micro=0, rounds=0,
            created_at=world.now(), ended_at=None,
        ),
    )  # fmt: skip


def _in_order(cards: Mapping[str, JobCard]) -> list[JobCard]:
    """Every card behind those that it depends on.

    Raises:
        Unprocessable: a dependency that is not among them, or a cycle.
    """
    unknown = sorted({dep for card in cards.values() for dep in card.deps} - set(cards))
    if unknown:
        raise Unprocessable(f"Unknown dependency {unknown[0]}.", code="unknown_dependency")
    if has_cycle({task: card.deps for task, card in cards.items()}):
        raise Unprocessable("The tasks depend on each other in a circle.", code="cycle")
    placed: dict[str, JobCard] = {}
    while len(placed) < len(cards):
        placed.update(
            {
                task: card
                for task, card in cards.items()
                if task not in placed and all(dep in placed for dep in card.deps)
            }
        )
    return list(placed.values())
