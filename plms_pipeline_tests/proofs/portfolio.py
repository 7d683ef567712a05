"""Do caps, shares and budgets hold with many dispatchers, every fault, and processes that are killed?

`make prove-portfolio` starts the world of `make prove-completions` with four processes that dispatch (`plms serve`, what does
what the daemon does, and two more), on SQLite or on PostgreSQL. Afterwards it asks the log of slots: no lane was ever
over its cap; every project's share in every lane is at least 0.9; no slot and no reservation is left; every account has
settled what the receipts of its project say, to the micro-dollar. Both databases are judged alike.

A share is what a project received of the slot time that a lane gave, divided by what weighted max-min fairness entitles it to
over the moments when it had an eligible task there (`portfolio.shares`), computed from the books and not from what the
scheduler remembers. It is judged in a lane that completed 50 tasks. One thing is granted, and the proof says how often: who
had fewer than 50 tasks of its own in the lane may be short of one task, the longest that held a slot there. A slot is given
back when its task ends; a task whose event was lost, or whose executor was killed, holds it ten times as long as others, and
a project with twenty tasks that comes off badly in the last of these has nothing left with which it could be made good.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import func, select, update

from plms_pipeline.budget import store as ledger
from plms_pipeline.portfolio.shares import Stay, shares_of
from plms_pipeline.portfolio.store.slots import LANE
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, Lane, ProjectRun, RunTask, Slot, TaskPlan, TaskReceipt
from plms_pipeline_tests.proofs.api import say
from plms_pipeline_tests.proofs.completions import PROJECTS, TASKS, Server, World, live, postgresql, processor_s
from plms_pipeline_tests.proofs.completions_books import judge

ENOUGH = 50
LEAST_SHARE = 0.9
MORE_DISPATCHERS = 2
# Of each project at once: with few, its lanes would wait for its slowest one, and it would ask for one slot at a time.
ACTIVE = 8
SPEND = {"spend": {"cost_usd": {"low": 0.1, "median": 1.0, "high": 5.0}}}


def prove(folder: Path, name: str, runs: int, kills: int, seed: int, database: str | None) -> list[str]:
    """One world; its problems."""
    began, worked = time.monotonic(), processor_s()
    world = World(folder / name, seed, database, ACTIVE)
    world.folder.mkdir(parents=True)
    world.prepare()
    registry = world.open()
    with registry.writing() as session:
        session.execute(update(TaskPlan).values(forecast_json=SPEND))
    registry.close()
    for number in range(MORE_DISPATCHERS):
        command = [sys.executable, "-m", "plms_pipeline_tests.proofs.dispatching_loop"]
        world.servers.append(Server(f"dispatcher{number}", command, world.environ, world.folder / f"d{number}.log"))
    live(world, runs, kills)
    registry = world.open()
    try:
        world.problems += judge(registry, world.folder / "data" / "pas" / "pas.db", runs).problems
        told = judge_portfolio(world, registry)
    finally:
        registry.close()
    made = sum(server.kills for server in world.servers)
    took, worked = time.monotonic() - began, processor_s() - worked
    say(f"  {name}: {runs} runs, {made} kills, {world.resumed} times resumed after a silent registry, {told}")
    say(
        f"  {took:.0f} s, {worked:.0f} s of processors ({1000 * worked / (runs * TASKS):.0f} ms per task, kills included, "
        "without a PostgreSQL server's own)"
    )
    return [f"{name}: {problem}" for problem in world.problems]


def judge_portfolio(world: World, registry: Registry) -> str:
    """Caps, shares and money; what to say about them."""
    with registry.reading() as session:
        caps = {lane: cap for lane, cap in session.execute(select(Lane.lane_id, Lane.cap))}  # noqa: C416 - rows are no pairs
        log = session.execute(
            select(Slot.resource, Slot.taken_at, Slot.released_at, Slot.subject, Slot.project_id, Slot.state)
        ).all()
        left = [row.subject for row in log if row.state != "RELEASED"]
    world.problems += [f"card {subject} still holds a slot" for subject in left]
    highest = {lane: most_at_once([row for row in log if row.resource == f"{LANE}{lane}"]) for lane in caps}
    world.problems += [
        f"lane {lane}: {most} slots of {caps[lane]}" for lane, most in highest.items() if most > caps[lane]
    ]
    verdict = judge_shares(lane_stays(registry), caps)
    world.problems += verdict.problems
    moved = judge_money(world, registry)
    full = sum(highest[lane] == caps[lane] for lane in caps)
    return f"{len(log)} slots, {full} lanes at their cap, {verdict.told}, {moved} USD settled"


@dataclass(frozen=True)
class Fairness:
    """Which shares are too small, and what to say about all of them."""

    problems: list[str]
    told: str


def judge_shares(stays: Mapping[int, Sequence[Stay]], caps: Mapping[int, int]) -> Fairness:
    """Every project's share in every lane that completed 50 tasks is at least 0.9.

    Who had fewer than 50 tasks there is granted one task, the lane's longest: of six tasks one is a sixth of a share,
    whatever the scheduler does.

    Args:
        stays: lane → what was eligible there, and when it had a slot.
        caps: lane → slots.
    """
    problems: list[str] = []
    exact: list[_Judged] = []
    granted: list[_Judged] = []
    for lane, found in sorted(stays.items()):
        if len(found) < ENOUGH:
            continue
        tasks = Counter(stay.project_id for stay in found)
        longest = max((stay.left_ms - stay.taken_ms for stay in found if stay.taken_ms is not None), default=0.0)
        for share in shares_of(found, cap=caps[lane]):
            if share.ratio is None:
                continue
            one = _Judged(share.ratio, lane, share.project_id, tasks[share.project_id], len(found), longest / 1000)
            is_exact = one.tasks >= ENOUGH
            (exact if is_exact else granted).append(one)
            if share.received_ms + (0.0 if is_exact else longest) < LEAST_SHARE * share.entitled_ms:
                short_s = (share.entitled_ms - share.received_ms) / 1000
                problems.append(f"lane {lane}: {one}, {short_s:.1f} s too little")
    idle = sum(len(found) < ENOUGH for found in stays.values())
    return Fairness(problems, f"{_told(exact, granted)}; {idle} lanes not judged")


class _Judged(NamedTuple):
    """One share; the least comes first."""

    ratio: float
    lane: int
    project: int
    tasks: int
    completions: int
    longest_s: float

    def __str__(self) -> str:
        return (
            f"{self.ratio:.3f} (project {self.project}, {self.tasks} of {self.completions} tasks of lane {self.lane}, "
            f"the longest {self.longest_s:.1f} s)"
        )


def _told(exact: Sequence[_Judged], granted: Sequence[_Judged]) -> str:
    below = sum(one.ratio < LEAST_SHARE for one in granted)
    least = f"least {min(exact)}" if exact else "none"
    few = f", least {min(granted)}" if granted else ""
    return (
        f"{len(exact)} shares over {ENOUGH} tasks and more: {least}; {len(granted)} over fewer, which may be one task short: "
        f"{below} below {LEAST_SHARE}{few}"
    )


def most_at_once(log: list[object]) -> int:
    """The most slots that were held at one moment; what is given back and taken in the same moment is given back first."""
    steps = sorted(
        [(row.taken_at, 1) for row in log] + [(row.released_at, -1) for row in log if row.released_at],  # type: ignore[attr-defined]  # rows of a query
    )  # fmt: skip
    level = most = 0
    for _, step in steps:
        level += step
        most = max(most, level)
    return most


def lane_stays(registry: Registry) -> dict[int, list[Stay]]:
    """What was eligible and had a slot in each lane: a task is eligible once its run works and all that it depends on has
    succeeded."""
    with registry.reading() as session:
        ended = {
            (run_id, task_id): at.timestamp() * 1000
            for run_id, task_id, at in session.execute(
                select(RunTask.run_id, RunTask.task_id, RunTask.completed_at).where(RunTask.status == "SUCCESS")
            )
            if at is not None
        }
        rows = session.execute(
            select(
                JobCard.lane_id, JobCard.run_id, JobCard.depends_on_json, JobCard.created_at, ProjectRun.started_at,
                ProjectRun.project_id, Slot.taken_at, Slot.released_at, JobCard.card_key,
            )
            .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
            .join(Slot, Slot.subject == JobCard.card_key)
            .where(Slot.released_at.is_not(None))
            .order_by(Slot.taken_at)
        ).all()  # fmt: skip
    stays: dict[int, list[Stay]] = defaultdict(list)
    before: dict[str, float] = {}
    for lane, run_id, depends_on, created, started, project, taken, released, card in rows:
        ready = [created.timestamp() * 1000, started.timestamp() * 1000]
        ready += [ended[run_id, name] for name in depends_on or () if (run_id, name) in ended]
        at = taken.timestamp() * 1000
        # A task that was put aside is eligible again from the moment at which it gave its slot back.
        eligible = before.get(card, min(max(ready), at))
        before[card] = released.timestamp() * 1000
        stays[lane].append(Stay(project, eligible, at, before[card]))
    return stays


def judge_money(world: World, registry: Registry) -> Decimal:
    """Every account has settled its project's receipts and has nothing reserved; the sum of all."""
    with registry.reading() as session:
        accounts = {one.account: one for one in ledger.balances(session, prefix="project:")}
        spent = session.execute(
            select(TaskReceipt.project_id, func.sum(TaskReceipt.cost_usd)).group_by(TaskReceipt.project_id)
        ).all()
    for project, usd in spent:
        account = accounts.get(f"project:{project}")
        if account is None or account.settled != (usd or 0):
            world.problems.append(f"project {project}: {account and account.settled} settled, receipts say {usd}")
    world.problems += [f"{one.account}: {one.reserved} is still reserved" for one in accounts.values() if one.reserved]
    return sum((one.settled for one in accounts.values()), Decimal(0))


def main() -> int:
    """The command line: `python -m plms_pipeline_tests.proofs.portfolio --runs 200 --kills 100 --seed 1`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200, help="runs of 20 tasks (default 200)")
    parser.add_argument("--kills", type=int, default=100, help="kills (default 100)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the fates of an earlier proof")
    parser.add_argument(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="where the registry is (default sqlite)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the data directories and name them")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 100_000
    say(
        f"portfolio proof: {given.runs} runs of {TASKS} tasks over {PROJECTS} projects, {given.kills} kills, "
        f"{given.database}, seed {seed}"
    )
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="plms-portfolio-"))
    problems: list[str] = []
    try:
        with ExitStack() as stack:
            database = stack.enter_context(postgresql(folder / "pg")) if given.database == "postgresql" else None
            problems += prove(folder, given.database, given.runs, given.kills, seed, database)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:50]:
        say(f"  FAIL {problem}")
    if given.keep:
        say(f"  kept in {folder}")
    verdict = f"FAILED with {len(problems)} problems" if problems else "holds"
    say(f"portfolio proof: {verdict} (seed {seed}, {time.monotonic() - began:.0f} s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
