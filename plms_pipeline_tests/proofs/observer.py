"""Is all evidence that is owed accounted for, however much there is of it, and whatever breaks meanwhile?

`make prove-observer` hands 1 000 obligations a second to one observer for ten seconds, with evidence absent and 200 places, on
SQLite, on PostgreSQL, and with evidence in a real Redis; a witness counts accepted = ended + pending every 50 ms in one
snapshot, and the memory of the process is watched. Then: evidence that comes, evidence that is old, Redis killed while 200
wait, Redis back; a process of `plms observe` killed with SIGKILL while 200 wait, and another one that takes over. What comes
out is compared with what must come out, and the throughput of looking with bare EXISTS, one call each, as the guide's
observer polled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
import redis
from sqlalchemy import func, select

from plms_pipeline.clock import SystemClock
from plms_pipeline.evidence.actions.asking import book_facts, record
from plms_pipeline.evidence.actions.owing import Said, accept_group
from plms_pipeline.evidence.client import RedisEvidence
from plms_pipeline.evidence.obligations import Need, Record, foreign_need
from plms_pipeline.evidence.service.observer import Observer, spool_files
from plms_pipeline.evidence.service.thread import beside
from plms_pipeline.evidence.verdicts import book_findings
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import upgrade
from plms_pipeline.registry.tables import Obligation, Observation
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.evidence.worlds import books
from plms_pipeline_tests.proofs.api import BIN, environment, say
from plms_pipeline_tests.proofs.start import database
from plms_pipeline_tests.redis_servers import RedisServer, redis_server

WORLDS = ("sqlite", "postgresql", "redis")
PREFIX = "prove:heat:"
ROOM = 200
SLACK_MS = 1500


@dataclass
class Stage:
    """One world: registry, settings, perhaps Redis, and what was found wrong."""

    name: str
    settings: Settings
    registry: Registry
    environ: dict[str, str]
    redis: RedisServer | None
    problems: list[str] = field(default_factory=list)
    clock: SystemClock = field(default_factory=SystemClock)

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def need(self, observer: Observer, subject: str) -> Need:
        return foreign_need(observer.config, subject)

    def write(self, observer: Observer, subject: str, age_s: float = 0.0) -> None:
        """Evidence as another component would write it."""
        stamp = f"{(self.clock.now() - timedelta(seconds=age_s)).timestamp():.6f}"
        found = Record("heat", subject, stamp, None, {"heat_level": "warm"})
        put = RedisEvidence(self.redis.url) if self.redis is not None else None
        record(self.registry, observer.config, found, clock=self.clock, put_in_redis=put.put if put else None)
        if put:
            put.close()

    def reasons(self, prefix: str) -> Counter[str]:
        with self.registry.reading() as session:
            return Counter(
                session.scalars(
                    select(Observation.reason)
                    .join(Obligation, Obligation.obligation_id == Observation.obligation_id)
                    .where(Obligation.subject_id.startswith(prefix))
                )
            )

    def wait_until_ended(self, most_s: float) -> bool:
        until = time.monotonic() + most_s
        while time.monotonic() < until:
            if books(self.registry)[2] == 0:
                return True
            time.sleep(0.05)
        return False


class Witness(threading.Thread):
    """Counts the books again and again, in one snapshot each time."""

    def __init__(self, registry: Registry, room: int | None) -> None:
        super().__init__(daemon=True)
        self.registry, self.room = registry, room
        self.over = threading.Event()
        self.looks, self.most_pending = 0, 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            accepted, ended, pending = books(self.registry)
            self.looks += 1
            self.most_pending = max(self.most_pending, pending)
            if accepted != ended + pending:
                self.wrong.append(f"{accepted} accepted, {ended} ended, {pending} pending")
            if self.room is not None and pending > self.room:
                self.wrong.append(f"{pending} pending, room for {self.room}")
            self.over.wait(0.05)


async def flood(stage: Stage, observer: Observer, rate: int, seconds: float) -> tuple[list[float], list[int], float]:
    """Hand in `rate` a second, whatever is answered; answer times in ms, memory in MB along the way, how long it took."""
    answers: list[float] = []
    memory: list[int] = []
    process = psutil.Process()
    tasks: set[asyncio.Task[None]] = set()

    async def hand_in(subject: str) -> None:
        began = time.perf_counter()
        await observer.accept(stage.need(observer, subject))
        answers.append((time.perf_counter() - began) * 1000)

    began = time.monotonic()
    total = int(rate * seconds)
    for number in range(total):
        due = began + number / rate
        ahead = due - time.monotonic()
        if ahead > 0.001:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(hand_in(f"flood-{number}"))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number % max(1, total // 20) == 0:
            memory.append(process.memory_info().rss // 2**20)
    await asyncio.gather(*tasks)
    memory.append(process.memory_info().rss // 2**20)
    return answers, memory, time.monotonic() - began


def prove_flood(stage: Stage, rate: int, seconds: float) -> None:
    """Evidence absent, five times more than there is room to wait for."""
    observer = Observer(stage.settings, stage.registry, stage.clock)
    witness = Witness(stage.registry, ROOM)

    async def work() -> tuple[list[float], list[int], float]:
        running = asyncio.create_task(observer.run())
        try:
            return await flood(stage, observer, rate, seconds)
        finally:
            await asyncio.sleep((observer.config.wait_ms + SLACK_MS) / 1000)
            observer.stop()
            await running

    witness.start()
    answers, memory, took = asyncio.run(work())
    witness.over.set()
    witness.join()
    total = int(rate * seconds)
    accepted, _, pending = books(stage.registry)
    reasons = stage.reasons("flood-")
    stage.check(accepted == total, f"{accepted} of {total} accepted")
    stage.check(pending == 0, f"{pending} still pending")
    stage.check(not witness.wrong, f"books: {witness.wrong[:3]}")
    stage.check(set(reasons) <= {"dropped", "timeout"}, f"reasons {dict(reasons)}")
    stage.check(reasons["timeout"] >= ROOM, f"only {reasons['timeout']} were waited for")
    counted = observer.metrics.counted()
    stage.check(
        {key: value for key, value in counted.items() if value} == dict(reasons),
        f"counters {counted}, rows {dict(reasons)}",
    )
    with stage.registry.reading() as session:
        seen = select(Observation.wait_ms, Observation.queue_ms).where(Observation.reason == "timeout")
        timeouts = [(wait_ms, queue_ms) for wait_ms, queue_ms in session.execute(seen)]
    waits = sorted(wait_ms for wait_ms, _ in timeouts)
    # What could be looked for only after its deadline, because the machine was too slow to accept it, ends at that look.
    late = [wait_ms for wait_ms, queue_ms in timeouts if wait_ms > max(2000, queue_ms) + SLACK_MS]
    stage.check(waits[0] >= 2000, f"a timeout after {waits[0]} ms")
    stage.check(not late, f"timeouts after {late[:3]} ms")
    grown = memory[-1] - memory[len(memory) // 4]
    stage.check(grown <= 30, f"memory grew from {memory[len(memory) // 4]} to {memory[-1]} MB")
    ordered = sorted(answers)
    commits, spent = _commits(observer)
    say(
        f"  {total} in {took:.1f} s ({total / took:.0f}/s): {dict(reasons)}; most pending {witness.most_pending}, "
        f"{witness.looks} counts of the books all equal; answers p50 {ordered[len(ordered) // 2]:.0f} ms, "
        f"p99 {ordered[int(len(ordered) * 0.99)]:.0f} ms; {commits:.0f} group commits of {total / max(1, commits):.0f}, "
        f"mean {1000 * spent / max(1, commits):.1f} ms after at most 5 ms of gathering; "
        f"timeouts after {waits[0]}–{waits[-1]} ms; memory {memory[len(memory) // 4]}→{memory[-1]} MB"
    )


def _commits(observer: Observer) -> tuple[float, float]:
    found = {sample.name: sample.value for metric in observer.metrics.registry.collect() for sample in metric.samples}
    return found["p28_late_obs_commit_seconds_count"], found["p28_late_obs_commit_seconds_sum"]


def prove_reasons(stage: Stage) -> None:
    """Evidence that comes in time, and evidence that is older than what it is taken for."""
    observer = Observer(stage.settings, stage.registry, stage.clock)
    for number in range(20):
        stage.write(observer, f"old-{number}", age_s=10.0)
    with beside(observer):
        for name in ("good", "old"):
            for number in range(20):
                observer.submit(stage.need(observer, f"{name}-{number}")).result(10)
        for number in range(20):
            stage.write(observer, f"good-{number}")
        stage.check(stage.wait_until_ended(10), "reasons: something never ended")
    good, old = dict(stage.reasons("good-")), dict(stage.reasons("old-"))
    stage.check(good == {"ok": 20}, f"evidence in time: {good}")
    stage.check(old == {"stale": 20}, f"old evidence: {old}")
    say(f"  evidence in time {good}, older than its obligation {old}")


def prove_outage(stage: Stage) -> None:
    """Redis killed while 200 wait, and back again."""
    assert stage.redis is not None
    observer = Observer(stage.settings, stage.registry, stage.clock)
    with beside(observer):
        for number in range(ROOM):
            observer.submit(stage.need(observer, f"outage-{number}"))
        while books(stage.registry)[2] < ROOM:
            time.sleep(0.01)
        time.sleep(0.3)
        stage.redis.kill()
        stage.check(stage.wait_until_ended(20), "outage: something never ended")
        found = dict(stage.reasons("outage-"))
        stage.redis.start()
        observer.submit(stage.need(observer, "back-0")).result(10)
        stage.write(observer, "back-0")
        stage.check(stage.wait_until_ended(10), "after the outage: something never ended")
        until = time.monotonic() + 20
        while time.monotonic() < until and _untold(stage):
            time.sleep(0.1)
    stage.check(found == {"redis_error": ROOM}, f"outage: {found}")
    stage.check(dict(stage.reasons("back-")) == {"ok": 1}, f"after the outage: {dict(stage.reasons('back-'))}")
    stage.check(_untold(stage) == 0, f"{_untold(stage)} observations were not told after the outage")
    say(f"  Redis killed: {found}; back: {dict(stage.reasons('back-'))}, everything told on the stream")


def _untold(stage: Stage) -> int:
    with stage.registry.reading() as session:
        return int(
            session.scalar(select(func.count()).select_from(Obligation).where(Obligation.publication == "due")) or 0
        )


def prove_restart(stage: Stage, kills: int, seed: int) -> None:
    """`plms observe` killed while 200 wait, again and again; another one takes over."""
    chance = random.Random(seed)
    observer = Observer(stage.settings, stage.registry, stage.clock, leads=False)
    total = 0
    for number in range(kills):
        needs = [Said(stage.need(observer, f"kill-{number}-{n}"), stage.clock.now()) for n in range(ROOM)]
        for start in range(0, ROOM, 50):
            accept_group(
                stage.registry, needs[start : start + 50], observer.config, observer_id="prover", now=stage.clock.now()
            )
        total += ROOM
        with observing(stage) as process:
            time.sleep(chance.uniform(0.0, 2.2))
            process.kill()
            process.wait()
        with observing(stage):
            stage.check(stage.wait_until_ended(30), f"kill {number}: something never ended")
    reasons = stage.reasons("kill-")
    stage.check(sum(reasons.values()) == total, f"{sum(reasons.values())} of {total} ended")
    stage.check(set(reasons) == {"timeout"}, f"reasons {dict(reasons)}")
    say(f"  {kills} × SIGKILL while {ROOM} wait: {dict(reasons)}, none lost, none twice")


@contextmanager
def observing(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `plms observe`; killed at the end."""
    process = subprocess.Popen([BIN / "plms", "observe", "--json"], env=stage.environ, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr] - opened with a pipe


def prove_books(stage: Stage) -> None:
    """The counted books say yes at the end."""
    told = None
    if stage.redis is not None:
        client = RedisEvidence(stage.redis.url)
        told = lambda newest: client.told(stage.settings.heat_obs_stream, newest=newest)  # noqa: E731
    facts = book_facts(
        stage.registry, clock=stage.clock, since=stage.clock.now() - timedelta(days=1), told=told,
        spooled_files=[path.name for path in spool_files(stage.settings.data_dir)],
    )  # fmt: skip
    for finding in book_findings(facts):
        stage.check(finding.holds, f"{finding.name}: {finding.problems}")
    say(f"  books: {facts.accepted} accepted = {facts.observations} observed + {facts.pending} pending")


def compare(stage: Stage) -> None:
    """Looks a second: ours, all that is in flight at once; bare EXISTS, one call each, with one and with four threads."""
    assert stage.redis is not None
    keys = [f"{PREFIX}compare:{n}" for n in range(ROOM)]
    ours = RedisEvidence(stage.redis.url)
    bare = redis.Redis.from_url(stage.redis.url)

    def rate(look: object, looks: int) -> float:
        began = time.perf_counter()
        look()  # type: ignore[operator]
        return looks / (time.perf_counter() - began)

    def one_by_one(part: list[str]) -> None:
        for key in part:
            bare.exists(key)

    def four_threads() -> None:
        threads = [threading.Thread(target=one_by_one, args=(keys[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    medians = [
        statistics.median(rate(look, ROOM) for _ in range(15))
        for look in (lambda: ours.look(keys), lambda: one_by_one(keys), four_threads)
    ]
    ours.close()
    bare.close()
    say(
        f"  looks a second, medians of 15: ours {medians[0]:,.0f} (content and all), bare EXISTS {medians[1]:,.0f}, "
        f"bare EXISTS in four threads {medians[2]:,.0f}; ratio {medians[0] / medians[1]:.1f} and {medians[0] / medians[2]:.1f}"
    )


def prove(name: str, options: argparse.Namespace) -> bool:
    """One world."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plms-prove-observer-")))
        found = stack.enter_context(database(name, folder))
        server = stack.enter_context(redis_server()) if name == "redis" else None
        if server is not None:
            found = {
                **found, "PLMS_EVIDENCE_BACKEND": "redis", "REDIS_URL": server.url, "P28_HEAT_LOOKUP_PREFIX": PREFIX,
                "PLMS_USE_REDIS": "false",
            }  # fmt: skip
        environ = environment(folder, **found)
        for variable in [each for each in environ if each.startswith(("P28_", "P27_")) and each not in found]:
            del environ[variable]
        settings = load_settings(environ)
        os.makedirs(settings.data_dir, exist_ok=True)
        upgrade(settings.database_url)
        registry = Registry.open(settings.database_url)
        stack.callback(registry.close)
        stage = Stage(name, settings, registry, environ, server)
        say(f"{name}:")
        prove_flood(stage, options.rate, options.seconds)
        prove_reasons(stage)
        prove_restart(stage, options.kills, options.seed)
        if server is not None:
            prove_outage(stage)
            compare(stage)
        prove_books(stage)
        for problem in stage.problems:
            say(f"  ✗ {problem}")
        return not stage.problems


def main() -> None:
    """Every world, and an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", choices=WORLDS, action="append")
    options = parser.parse_args()
    say(f"seed {options.seed}")
    results = {name: prove(name, options) for name in options.world or WORLDS}
    if not all(results.values()):
        sys.exit(f"not proven: {', '.join(name for name, holds in results.items() if not holds)}")
    say("Every obligation is accounted for.")


if __name__ == "__main__":
    main()
