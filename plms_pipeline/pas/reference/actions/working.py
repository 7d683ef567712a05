"""What is to do now?

One step of the work: end what is due, start what may start, say when to look again. The folder of an artifact is made
before the transaction that says so; making it twice gives the same folder, so a crash in between costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from plms_pipeline.errors import PlmsError
from plms_pipeline.pas.protocol import JobCard
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.ending import End, end_card, fate
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.reference.artifacts import recipe
from plms_pipeline.pas.reference.fate import BUDGET, capped
from plms_pipeline.pas.reference.machine import ENDED
from plms_pipeline.pas.reference.store import Card

BATCH = 200


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. `due_at`: when the next card ends; `is_full`: there is more to do at once."""

    ended: int
    started: int
    due_at: float | None
    is_full: bool


def work(world: World) -> Step:
    """One step."""
    due = store.due_cards(world.db, world.now(), BATCH)
    ends = [(card, _end_of(world, card)) for card in due]
    with store.writing(world.db):
        for card, end in ends:
            current = store.card_of(world.db, card.card_key)
            # An earlier end in this batch may have terminated the run.
            if current is not None and current.state == "running":
                end_card(world, current, end)
        started = _start(world)
        due_at = store.next_due(world.db)
    return Step(len(ends), started, due_at, is_full=len(due) == BATCH)


def _end_of(world: World, card: Card) -> End:
    fated = fate(world, card)
    if fated.error is not None:
        return End("failed", fated.taken, fated.error)
    folder = JobCard.model_validate_json(card.card_json).payload.artifacts_dir
    run = store.run_of(world.db, card.run_id)
    if folder is None or run is None or run.sandbox:
        return End("succeeded", fated.taken)
    is_red = world.faults.strikes("kpi_red", card.card_key)
    try:
        world.artifacts.stage(folder, recipe(card.lane, is_red=is_red))
    except (PlmsError, OSError) as error:
        return End("failed", fated.taken, f"its artifacts could not be written: {error}")
    return End("succeeded", fated.taken, None, folder)


def _start(world: World) -> int:
    running = store.running_by_lane(world.db)
    room = {lane: cap - running.get(lane, 0) for lane, cap in world.lane_caps.items()}
    now, started = world.now(), 0
    for card in store.startable(world.db, [lane for lane, free in room.items() if free > 0], BATCH):
        if room[card.lane] > 0:
            room[card.lane] -= 1
            started += 1
            due = None if card.is_command else world.after(world.real_s(fate(world, card).taken.time_ms))
            store.change_card(world.db, card.id, state="running", started_at=now, due_at=due)
    return started


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How the command of a card ended: `exit_code` None when it was killed for `problem`."""

    exit_code: int | None
    problem: str | None
    duration_ms: int


def end_command(world: World, card_key: str, ended: CommandEnd) -> None:
    """Write the end of a command. What was cancelled meanwhile stays cancelled.

    The time is the command's own; cost and tokens are replayed like those of any other card of its lane.
    """
    with store.writing(world.db):
        card = store.card_of(world.db, card_key)
        if card is None or card.state in ENDED:
            return
        message = JobCard.model_validate_json(card.card_json)
        taken = world.outcomes.choose(
            world.seed, card_key, card.lane, message.provider, is_outlier=world.faults.strikes("outlier", card_key)
        )
        error = ended.problem
        if ended.exit_code is not None and ended.exit_code != 0:
            error = f"the command ended with {ended.exit_code}" + (f": {ended.problem}" if ended.problem else "")
        elif ended.exit_code == 0:
            error = None
        if message.budget_usd is not None and taken.cost_usd > message.budget_usd:
            taken, error = capped(taken, message.budget_usd), BUDGET
        taken = replace(taken, time_ms=ended.duration_ms)
        run = store.run_of(world.db, card.run_id)
        folder = None if run is None or run.sandbox else message.payload.artifacts_dir
        end_card(world, card, End("succeeded" if error is None else "failed", taken, error, folder))
