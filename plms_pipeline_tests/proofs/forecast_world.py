"""Projects that happen: tasks with failures and retries, made of every shipped receipt that knows its price.

The shipped receipts, in canonical order, are taken as attempts: within a (lane, provider) one that did not solve its task is
followed by the next receipt as the next attempt, until one succeeds or the limit is reached. So each receipt is one attempt of
one task, failures and costs belong together as they did, and what a forecast may know is what stands earlier.

Three worlds, because thirteen models that came one after another are only thirteen outcomes in one order:

- `in order`: a project is the next tasks of the shipped order, whoever works on them; half of what it meets at a border of two
  models is a provider never seen;
- `later`: its tasks are drawn from all later ones of the model at work;
- `overlapping`: one to three models at once, each known up to a moment of its own, as when their files had come side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.attempts import TasksLeft, belief_of
from plms_pipeline.estimates.beliefs import Tally
from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import state_of
from plms_pipeline_tests.estimates.conftest import _metr, _swebench

Cell = tuple[int, str]
Floats = NDArray[np.float64]

MAX_ATTEMPTS: Final = 3
FEWEST, MOST = 4, 60
ALPHA: Final = 0.3
WORLDS: Final = ("in order", "later", "overlapping")


@dataclass(frozen=True, slots=True)
class Task:
    """One task: where it stands in the order, who did it, and what each attempt cost in USD."""

    place: int
    cell: Cell
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A project that happens: what was known before it, and its tasks in the order in which they end."""

    world: str
    before: dict[Cell, Sequence[Task]]
    tasks: Sequence[Task]


@lru_cache(maxsize=1)
def shipped_tasks() -> tuple[Task, ...]:
    """Every shipped receipt with a price as an attempt of some task, in order of each task's first attempt."""
    frame = _swebench().sort_values(["ended", "key"], kind="stable")
    rows: dict[Cell, list[tuple[int, float, bool]]] = {}
    columns = zip(frame["lane"], frame["provider"], frame["cost_usd"], frame["passed"], strict=True)
    for place, (lane, provider, cost, passed) in enumerate(columns):
        rows.setdefault((int(lane), str(provider)), []).append((place, float(cost), bool(passed)))
    tasks = []
    for cell, found in rows.items():
        begin, costs = 0, []
        for place, cost, passed in found:
            begin = begin if costs else place
            costs.append(cost)
            if passed or len(costs) == MAX_ATTEMPTS:
                tasks.append(Task(begin, cell, tuple(costs)))
                costs = []
        if costs:
            tasks.append(Task(begin, cell, tuple(costs)))
    return tuple(sorted(tasks, key=lambda task: task.place))


@lru_cache(maxsize=1)
def shipped_minutes() -> Floats:
    """How long the attempts took whose duration is known, in minutes."""
    return np.asarray(_metr()["duration_ms"], dtype=np.float64) / 60_000


@lru_cache(maxsize=1)
def by_cell() -> dict[Cell, tuple[Task, ...]]:
    """The tasks of each (lane, provider), in order."""
    cells: dict[Cell, list[Task]] = {}
    for task in shipped_tasks():
        cells.setdefault(task.cell, []).append(task)
    return {cell: tuple(tasks) for cell, tasks in sorted(cells.items())}


def story(world: str, rng: np.random.Generator) -> Story | None:
    """A project of that world; None when the draw leaves too few tasks."""
    n = int(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST + 1))))
    if world == "overlapping":
        return _overlapping(n, rng)
    tasks = shipped_tasks()
    at = int(rng.integers(0, len(tasks) - n))
    mine: Sequence[Task] = tasks[at : at + n]
    if world == "later":
        later = [task for task in tasks[at:] if task.cell[1] == tasks[at].cell[1]]
        if len(later) < n:
            return None
        mine = [later[place] for place in rng.choice(len(later), n, replace=False)]
    before = {cell: [task for task in found if _last(task) < tasks[at].place] for cell, found in by_cell().items()}
    return Story(world, before, [mine[place] for place in rng.permutation(n)])


def _last(task: Task) -> int:
    """The last place that a task may reach: attempts of a cell follow each other, others stand between them."""
    return task.place + len(task.costs) - 1


def _overlapping(n: int, rng: np.random.Generator) -> Story | None:
    names = sorted({provider for _, provider in by_cell()})
    known = {name: rng.uniform(0, 1) for name in names}
    chosen = set(rng.choice(names, int(rng.integers(1, 4)), replace=False))
    before, later = {}, []
    for cell, found in by_cell().items():
        border = int(known[cell[1]] * len(found))
        before[cell] = found[:border]
        later += found[border:] if cell[1] in chosen else ()
    if len(later) < n:
        return None
    return Story("overlapping", before, [later[place] for place in rng.choice(len(later), n, replace=False)])


def progress(told: Story, share: float, rng: np.random.Generator) -> list[int]:
    """How many attempts each task has behind it when that share of the tasks has ended.

    Two more are under way: they have had the same chance of none, one or two attempts whatever becomes of them, and have
    ended where they needed no more. Nothing is under way before the start.
    """
    ended = int(share * len(told.tasks))
    behind = [len(task.costs) for task in told.tasks[:ended]]
    if share:
        behind += [min(int(rng.integers(0, MAX_ATTEMPTS)), len(task.costs)) for task in told.tasks[ended : ended + 2]]
    return behind + [0] * (len(told.tasks) - len(behind))


def groups_left(told: Story, behind: Sequence[int]) -> list[TasksLeft]:
    """What is believed of the tasks that have not ended, from every receipt earlier than this moment.

    Args:
        behind: how many attempts each task has behind it.
    """
    known = {cell: [task.costs for task in tasks] for cell, tasks in told.before.items() if tasks}
    for task, n in zip(told.tasks, behind, strict=True):
        if n:
            known.setdefault(task.cell, []).append(task.costs[:n])
    left = [(task.cell, n) for task, n in zip(told.tasks, behind, strict=True) if n < len(task.costs)]
    return _believed(known, left)


def _believed(known: dict[Cell, list[tuple[float, ...]]], left: Sequence[tuple[Cell, int]]) -> list[TasksLeft]:
    """What the spend state says of tasks with so many attempts behind them, from the attempts of the tasks that are known."""
    cells = sorted(known)
    values = [[cost for costs in known[cell] for cost in costs] for cell in cells]
    tallies = {cell: Tally(len(found), len(known[cell])) for cell, found in zip(cells, values, strict=True)}
    numbers = np.repeat(np.arange(len(cells), dtype=np.int32), [len(found) for found in values])
    flat = np.asarray([value for found in values for value in found], dtype=np.float64)
    state = state_of(
        "cost_usd",
        {cells[n]: found for n, found in summarise(numbers, len(cells), flat, "cost_usd", alpha=ALPHA).items()},
    )
    overall = Tally(sum(one.included for one in tallies.values()), sum(one.tasks for one in tallies.values()))
    counts: dict[tuple[Cell, int], int] = {}
    for key in left:
        counts[key] = counts.get(key, 0) + 1
    believed = {cell: belief_of(predict(state, *cell), tallies.get(cell, Tally()), overall) for cell, _ in counts}
    return [
        TasksLeft(believed[cell], cell[1], n, most=MAX_ATTEMPTS - begun, limit=MAX_ATTEMPTS)
        for (cell, begun), n in sorted(counts.items())
    ]
