"""How is one seed run, and many of them on all cores?"""

from __future__ import annotations

import gc
import logging
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plms_pipeline_tests.simulation.days import CALM_EVERY, begin, calm_down, one_day
from plms_pipeline_tests.simulation.home import home_of
from plms_pipeline_tests.simulation.rules import Violated
from plms_pipeline_tests.simulation.world import Room

SHOWN_STEPS = 30


@dataclass(frozen=True)
class Outcome:
    """What became of one seed. `check` and `said`: the rule that does not hold; `trace`: the last steps."""

    seed: int
    days: int
    steps: int
    commits: int
    crashes: int
    check: str | None
    said: str | None
    trace: tuple[str, ...]
    cpu_s: float
    happened: Counter[tuple[str, str]]


def simulate(template: Path, seed: int, days: int) -> Outcome:
    """So many days of one world; ends at the first rule that does not hold."""
    # What the product logs of outages and refusals is expected here, and costs more than the rules.
    logging.disable(logging.CRITICAL)
    _clear()
    began = time.process_time()
    room = Room.open(home_of(template), seed)
    found: Violated | None = None
    day = 0
    try:
        begin(room)
        for day in range(1, days + 1):
            one_day(room)
            if day % CALM_EVERY == 0 or day == days:
                calm_down(room)
                # What was made since the last calm; what is left of it is looked at again when the world is gone.
                gc.collect(0)
    except Violated as error:
        found = error
    except Exception as error:
        found = Violated("no action fails unexpectedly", "".join(traceback.format_exception(error)[-4:]))
    finally:
        room.close()
        logging.disable(logging.NOTSET)
    return Outcome(
        seed, day, room.steps, room.commits, room.crashes, found.check if found else None, str(found) if found else None,
        tuple(room.trace[-SHOWN_STEPS:]), time.process_time() - began, room.happened,
    )  # fmt: skip


def all_of(work: Callable[..., Any], items: list[tuple[Any, ...]]) -> Iterator[Any]:
    """What `work` says about every item, as it comes; on all cores."""
    workers = min(os.cpu_count() or 1, len(items))
    with ProcessPoolExecutor(max_workers=workers, initializer=_settle_in) as pool:
        for job in as_completed([pool.submit(work, *item) for item in items]):
            yield job.result()


def _settle_in() -> None:
    """Nothing is collected unless the worlds ask for it."""
    gc.disable()
    _clear()


def _clear() -> None:
    """Collect what is left of the world before; what stays is the process's own, and looked at by no collection any more."""
    if not gc.isenabled():
        gc.collect()
        gc.freeze()
