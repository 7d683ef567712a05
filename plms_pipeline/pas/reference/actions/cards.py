"""How does a card come in, and how is a single one stopped?

A card is known by its key: the same again is answered with the same task, another body under the key is refused. That is
what makes it safe to repeat a submission whose answer was lost.
"""

from __future__ import annotations

from plms_pipeline.errors import Conflict, NotFound, Unprocessable
from plms_pipeline.pas.protocol import CardAccepted, CardReference, JobCard
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.ending import End, end_card, stopped
from plms_pipeline.pas.reference.actions.world import World, digest
from plms_pipeline.pas.reference.machine import ENDED, OVER, card_by_its_dependencies, has_cycle
from plms_pipeline.pas.reference.store import Card, Run


def submit_card(world: World, card: JobCard) -> CardAccepted:
    """Take a card; it works as soon as its dependencies have succeeded and its lane has room.

    Raises:
        NotFound: no such run (`run_not_found`).
        Conflict: another body under this key (`card_exists`), the attempt under another key (`attempt_exists`), an earlier
            attempt open or good (`attempt_open`), the run ended (`run_ended`) or full (`too_many_tasks`).
        Unprocessable: unknown lane (`unknown_lane`) or dependency (`unknown_dependency`), a cycle (`cycle`), artifacts
            outside the root (`bad_artifacts_dir`).
    """
    with store.writing(world.db):
        known = store.card_of(world.db, card.card_key)
        if known is not None:
            if known.body_sha256 != digest(card):
                raise Conflict(f"Card {card.card_key} is known with another body.", code="card_exists")
            return CardAccepted(pas_task_id=known.pas_task_id, duplicate=True)
        return CardAccepted(pas_task_id=admit_card(world, card))


def admit_card(world: World, card: JobCard) -> str:
    """Write a card whose key is new, in the caller's transaction; its `pas_task_id`. Raises as `submit_card` does."""
    run = store.run_of(world.db, card.run_id)
    if run is None:
        raise NotFound("Run not found", code="run_not_found")
    if store.card_of(world.db, card.card_key) is not None:
        raise Conflict(f"Card {card.card_key} is known already.", code="card_exists")
    _check_message(world, card)
    newest = {one.task_id: one for one in store.newest_cards(world.db, run.run_id)}
    _check_place(run, card, newest)
    after = card_by_its_dependencies(newest[dep].state for dep in card.deps)
    pas_task_id = f"pas-{world.name('card', card.card_key)}"
    store.add_card(
        world.db,
        {
            "card_key": card.card_key, "body_sha256": digest(card), "card_json": card.model_dump_json(),
            "pas_task_id": pas_task_id, "run_id": run.run_id, "task_id": card.task_id, "attempt": card.attempt,
            "lane": card.lane, "priority": card.priority, "state": "queued" if after == "queued" else "waiting",
            "is_command": int(card.payload.command is not None),
        },
    )  # fmt: skip
    if run.state == "needs_review":
        store.change_run(world.db, run.run_id, state="executing")
    if after == "skipped":
        added = store.card_of(world.db, card.card_key)
        if added is not None:
            end_card(world, added, End("skipped", None, "a task that it depends on did not succeed"))
    return pas_task_id


def _check_message(world: World, card: JobCard) -> None:
    if card.lane not in world.lane_caps:
        known = ", ".join(map(str, sorted(world.lane_caps)))
        raise Unprocessable(f"Unknown lane {card.lane}; this executor works in {known}.", code="unknown_lane")
    if card.payload.artifacts_dir is not None:
        world.artifacts.checked(card.payload.artifacts_dir)


def _check_place(run: Run, card: JobCard, newest: dict[str, Card]) -> None:
    """Whether the run has a place for this attempt at this task."""
    if run.state in OVER:
        raise Conflict(f"Run {run.run_id} is {run.state}.", code="run_ended")
    before = newest.get(card.task_id)
    if before is not None and card.attempt <= before.attempt:
        raise Conflict(
            f"Attempt {card.attempt} at task {card.task_id} is known under another key.", code="attempt_exists"
        )
    if before is not None and (before.state not in ENDED or before.state == "succeeded"):
        raise Conflict(f"Attempt {before.attempt} at task {card.task_id} is {before.state}.", code="attempt_open")
    if before is None and len(newest) >= run.tasks_total:
        raise Conflict(f"Run {run.run_id} was started with {run.tasks_total} tasks.", code="too_many_tasks")
    if card.task_id in card.deps:
        raise Unprocessable(f"Task {card.task_id} depends on itself.", code="cycle")
    unknown = [dep for dep in card.deps if dep not in newest]
    if unknown:
        raise Unprocessable(f"Unknown dependency {unknown[0]}.", code="unknown_dependency")
    graph = {one.task_id: JobCard.model_validate_json(one.card_json).deps for one in newest.values()}
    if card.deps and has_cycle({**graph, card.task_id: card.deps}):
        raise Unprocessable("The tasks depend on each other in a circle.", code="cycle")


def cancel_card(world: World, reference: CardReference) -> CardAccepted:
    """End one card now, billed for what it has taken; one that has ended stays as it is (`duplicate`).

    Raises:
        NotFound: no such card (`card_not_found`).
    """
    with store.writing(world.db):
        card = _known(world, reference)
        if card.state in ENDED:
            return CardAccepted(pas_task_id=card.pas_task_id, duplicate=True)
        end_card(world, card, stopped(world, card, "cancelled"))
    return CardAccepted(pas_task_id=card.pas_task_id)


def pause_task(world: World, reference: CardReference) -> CardAccepted:
    """Stop one card until `resume_task`, whatever its run does.

    Raises:
        NotFound: no such card (`card_not_found`).
        Conflict: it has ended (`card_ended`).
    """
    with store.writing(world.db):
        card = _open(world, reference)
        if card.state == "running":
            left = None if card.due_at is None else max(0.0, card.due_at - world.now())
            store.change_card(world.db, card.id, state="paused", left_s=left, due_at=None)
        store.change_card(world.db, card.id, held=1)
    return CardAccepted(pas_task_id=card.pas_task_id, duplicate=bool(card.held))


def resume_task(world: World, reference: CardReference) -> CardAccepted:
    """Go on with a card that `pause_task` stopped, as soon as its run works. Raises as `pause_task` does."""
    with store.writing(world.db):
        card = _open(world, reference)
        run = store.run_of(world.db, card.run_id)
        if card.state == "paused" and run is not None and run.state == "executing":
            due = None if card.left_s is None else world.after(card.left_s)
            store.change_card(world.db, card.id, state="running", left_s=None, due_at=due)
        store.change_card(world.db, card.id, held=0)
    return CardAccepted(pas_task_id=card.pas_task_id, duplicate=not card.held)


def _known(world: World, reference: CardReference) -> Card:
    card = store.card_of_attempt(world.db, reference.run_id, reference.task_id, reference.attempt)
    if card is None:
        raise NotFound("Card not found", code="card_not_found")
    return card


def _open(world: World, reference: CardReference) -> Card:
    card = _known(world, reference)
    if card.state in ENDED:
        raise Conflict(f"The card is {card.state}.", code="card_ended")
    return card
