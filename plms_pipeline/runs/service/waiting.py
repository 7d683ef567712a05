"""How does a terminal or a job wait until a run has ended?

By looking at the registry now and then, and by doing what is due meanwhile: a machine on which neither `plms serve` nor the
daemon runs must still see its run through. Everything that is done here may be done by others at the same time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.absent import no_run
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.store import listing

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.25
Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run stands when the waiting is over; `has_ended` is False when the time was."""

    run_id: str
    status: str
    validation: str
    has_ended: bool


def require_executor(ended: Ended, ask: Callable[[], object]) -> None:
    """Refuse to call it a verdict that a run has not ended, if the executor is away: nothing of it can have been done.

    Args:
        ask: asks the executor anything.

    Raises:
        Unavailable: the time was over, and the executor is away.
    """
    if ended.has_ended:
        return
    try:
        ask()
    except Unavailable as error:
        raise Unavailable(
            f"The executor is away ({error.message.rstrip('.')}). The run {ended.run_id} is {ended.status}, and goes on by "
            "itself when the executor is back and somebody dispatches (`plms serve`, or `plms run dispatch` once): "
            f"`plms pas health` asks the executor, `plms run follow {ended.run_id}` waits for the run.",
            code="executor_away",
        ) from error
    except PlmsError:
        return  # It answers, so it is not away.


def wait_for_run(
    registry: Registry,
    run_id: str,
    *,
    wait_s: float,
    steps: Sequence[Step] = (),
    monotonic_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Ended:
    """Wait at most `wait_s` seconds for a run to end.

    Args:
        steps: done before each look; one that fails (the executor is away) is tried again at the next.

    Raises:
        NotFound: no such run.
    """
    until = monotonic_s() + wait_s
    while True:
        for step in steps:
            try:
                step()
            except PlmsError as error:
                log.warning("waiting run_id=%s code=%s", run_id, error.code)
        with registry.reading() as session:
            found = listing.status_of(session, run_id)
        if found is None:
            raise no_run(run_id)
        status, validation = found
        if is_terminal("run", status) or monotonic_s() >= until:
            return Ended(run_id, status, validation, is_terminal("run", status))
        sleep(min(LOOK_EVERY_S, max(0.0, until - monotonic_s())))
