"""What the processes of the control room do, over and over: dispatch, take events in, settle, compare, stop, retry, observe.

Each is the real action that `plms serve`, the sensors of the daemon and the commands call; two of each work at once.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import Unavailable
from plms_pipeline.estimates.actions.believing import summarise_stale_days
from plms_pipeline.evidence.actions.asking import record
from plms_pipeline.evidence.actions.leading import lead
from plms_pipeline.evidence.actions.observing import Watch, observe_round, replay
from plms_pipeline.evidence.actions.owing import Said, accept_group
from plms_pipeline.evidence.obligations import HEAT, Record, foreign_need
from plms_pipeline.evidence.spool import line_of, read_lines
from plms_pipeline.intake.actions.inbox import accept_event
from plms_pipeline.kpis.actions.world import World, world_of
from plms_pipeline.letters.actions.retrying import retry_due
from plms_pipeline.portfolio.actions.switches import stop_reason
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline.runs.actions.evidence import write_heat
from plms_pipeline.runs.actions.reconcile import reconcile_runs, resolve_suspects
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.actions.start import StartPolicy
from plms_pipeline.runs.letters.actions import Retries, learn
from plms_pipeline.runs.stopping.actions import look, tell
from plms_pipeline_tests.simulation.people import PASSPORT
from plms_pipeline_tests.simulation.world import Process, Room

PAS = Actor("pas", is_verified=True)


def _stopped(room: Room) -> str | None:
    """Why nothing may start at all; what was answered is remembered of whoever asked."""
    said = stop_reason(room.seen, flag=lambda: room.flag)
    present = room.turns.present
    if present is not None:
        present.told = said
    return said


def dispatch(room: Room) -> None:
    """A tick of a dispatcher."""
    process = room.process("d")
    if process is None:
        return
    sweeps = room.is_calm or room.rng.random() < 0.3
    room.act(
        "dispatch", process,
        lambda: _shown(
            dispatch_due(
                room.seen, clock=room.clock, pas=room.pas, holder=process.name, data_dir=str(room.folder),
                stopped=lambda: _stopped(room), policy=room.policy, ids=room.new_id, sweeps=sweeps,
                evidence=room.evidence, is_dead=room.is_dead,
            )
        ),
    )  # fmt: skip


def _shown(result: Any) -> str:
    names = ("announced", "submitted", "refused", "skipped", "snapshots", "waiting", "away", "stopped")
    return " ".join(f"{name}={getattr(result, name)}" for name in names if getattr(result, name))


def deliver(room: Room) -> None:
    """Events arrive, in any order; the executor keeps each until it hears that it was taken. In a calm none is late."""
    due = [event for event in room.executor.events if room.is_calm or event[0] <= room.executor.now()]
    if not room.is_calm:
        room.rng.shuffle(due)
        due = due[: room.rng.randrange(1, 4)]
    for event in due:
        process = room.process("h", 3)
        if process is not None:
            _arrive(room, process, event)


def _arrive(room: Room, process: Process, event: tuple[datetime, dict[str, Any]]) -> None:
    body = json.dumps(event[1]).encode()

    def accept() -> None:
        accept_event(room.seen, room.clock, endpoint="task_completed", body=body, actor=PAS, event_id=None)
        if event in room.executor.events:
            room.executor.events.remove(event)

    room.act("deliver", process, accept)


def settle(room: Room) -> None:
    """A settlement, and the comparison that its hints ask for."""
    process = room.process("s")
    if process is not None:
        room.act(
            "settle", process, lambda: _settled(settle_due(_world(room), holder=process.name, is_dead=room.is_dead))
        )


def _settled(result: Any) -> str:
    names = ("claimed", "settled", "ignored", "refused", "deferred", "receipts", "priors", "ended_runs")
    return " ".join(f"{name}={getattr(result, name)}" for name in names if getattr(result, name))


def _world(room: Room) -> World:
    return world_of(
        registry=room.seen, settings=room.settings, clock=room.clock, new_id=room.new_id, elapsed=room.elapsed_s,
        sleep=lambda _seconds: None,
    )  # fmt: skip


def reconcile(room: Room) -> None:
    """Runs under way are compared with the executor's status, and slots that nobody heard of with it too."""
    process = room.process("r")
    if process is None:
        return

    def action() -> str:
        found = reconcile_runs(
            room.seen, settings=room.settings, clock=room.clock, pas=room.pas, elapsed=room.elapsed_s
        )
        given = resolve_suspects(room.seen, settings=room.settings, clock=room.clock, pas=room.pas)
        return f"told={found.told} lost={found.lost} again={found.again} away={found.away} given={given}"

    room.act("reconcile", process, action)


def stop(room: Room) -> None:
    """A look at the kill switch, and what the executor must hear of it."""
    process = room.process("w")
    if process is None:
        return

    def action() -> str:
        found = look(room.seen, clock=room.clock, flag=room.flag)
        told = tell(room.seen, clock=room.clock, pas=room.pas, holder=process.name)
        return f"stops={len(found.stops)} asked={found.asked} ended={found.ended} told={told}"

    strand = room.act("stop", process, action)
    if strand.has_ended and strand.error is None and not room.turns.waiting:
        room.outgoing.stands_still()


def retry(room: Room) -> None:
    """Letters learn what came of their retries, and what is due is begun anew."""
    process = room.process("l")
    if process is None:
        return
    retries = Retries(
        room.seen, room.clock, room.new_id, lambda: PASSPORT, lambda: room.flag, StartPolicy(launcher=room.launcher),
    )  # fmt: skip

    def action() -> str:
        learnt = learn(room.seen, clock=room.clock)
        found = retry_due(room.seen, clock=room.clock, holder=process.name, handlers=retries.handlers())
        return f"learnt={learnt} {[(line.kind, line.word, line.said[:60]) for line in found.lines]}"

    room.act("retry", process, action)


def observe(room: Room) -> None:
    """A round of an observer, if it leads: what was spooled is replayed, what waits is looked for."""
    process = room.process("o")
    if process is None:
        return
    memory = process.memory

    def action() -> str:
        # While the registry is away, who led goes on: what is in flight is looked for, and spooled.
        with suppress(Unavailable):
            memory["held"] = lead(
                room.seen, memory.get("held"), observer_id=process.name, config=room.evidence, clock=room.clock,
                is_dead=room.is_dead,
            )  # fmt: skip
        if memory.get("held") is None:
            memory.pop("flight", None)
            return "another leads"
        watch = Watch(
            room.seen, room.clock, room.evidence, process.name, lambda: room.clock.passed_s * 1000,
            lambda lines: room.spools.setdefault(process.name, []).extend(lines),
        )  # fmt: skip
        replayed = [replay(watch, read_lines(lines)) and name for name, lines in sorted(room.spools.items()) if lines]
        for name in replayed:
            room.spools.pop(name)
        done = observe_round(watch, memory.get("flight", {}))
        memory["flight"] = done.flight
        return f"flight={len(done.flight)} ended={[verdict.reason for verdict in done.ended]} spooled={done.spooled}"

    room.act("observe", process, action)


def owe(room: Room) -> None:
    """Another component hands in needs, together; what finds no room is dropped, what the registry cannot take is spooled."""
    process = room.process("a")
    if process is None:
        return
    subjects = [room.new_id()[:12] for _ in range(room.rng.randrange(1, 8))]
    room.needs = (room.needs + subjects)[-12:]
    said = [Said(foreign_need(room.evidence, subject), room.clock.now()) for subject in subjects]

    def action() -> str:
        try:
            answers = accept_group(room.seen, said, room.evidence, observer_id=process.name, now=room.clock.now())
        except Unavailable:
            lines = [line_of("obligation", each.need.row(room.evidence, now=each.at)) for each in said]
            room.spools.setdefault(process.name, []).extend(lines)
            room.owed.update(each.need.obligation_id for each in said)
            return f"spooled={len(lines)}"
        for answer in answers:
            room.owed.add(answer.obligation_id)
            room.proof.accepted(answer.obligation_id, is_dropped=answer.is_new and answer.is_dropped)
        return f"accepted={len(answers)} dropped={sum(answer.is_dropped for answer in answers)}"

    room.act("owe", process, action)


def prove(room: Room) -> None:
    """Evidence comes, sometimes too old, of another, or unreadable; and runs that ended say how hot they ran."""
    process = room.process("e")
    if process is None:
        return
    rng = room.rng
    ended = room.journal.ask(
        "SELECT run_id FROM project_runs WHERE status IN ('SUCCESS', 'FAIL') ORDER BY completed_at DESC LIMIT 2"
    )

    def action() -> str:
        written = 0
        for subject in rng.sample(room.needs, min(2, len(room.needs))):
            stamp = rng.choice((f"{room.clock.now().timestamp():.3f}", "1700000000", "yesterday"))
            named = rng.choice((None, None, "another"))
            record(room.seen, room.evidence, Record(HEAT, subject, stamp, named, {"heat": "1"}), clock=room.clock)
            written += 1
        heat = write_heat(room.seen, settings=room.settings, clock=room.clock, run_ids=[run for (run,) in ended])
        return f"written={written} heat={heat}"

    room.act("prove", process, action)


def night(room: Room) -> None:
    """The days that changed are summarised."""
    process = room.process("n", 1)
    if process is not None:
        room.act(
            "night", process,
            lambda: len(list(summarise_stale_days(room.seen, alpha=room.settings.alpha))),
        )  # fmt: skip
