"""What is left of a project, and what is believed of it?

The newest spend prior of each (lane, provider) speaks, with last night's correction; where no receipt of it ever came, the
forecast that the plan was approved with. A task of which nobody knows anything leaves the total unknown: counting it as
nothing, as the first version did, made every such project look cheap.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from plms_pipeline.estimates.attempts import AttemptBelief, TasksLeft, belief_of_interval, left_total
from plms_pipeline.estimates.extrapolation import Extrapolation
from plms_pipeline.registry.prepared import Rows

# How much of the spread of a forecast without receipts is not known of its centre.
UNKNOWN_SHARE: Final = 0.6
REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True)
class Remaining:
    """The work that is left: how many tasks, how many of them nobody knows anything of, and what all take together in USD.

    `total` is None when some task is not known.
    """

    tasks: int
    unknown: int
    total: Extrapolation | None


NOTHING: Final = Remaining(0, 0, left_total(()))


@lru_cache(maxsize=REMEMBERED)
def remaining(left: Rows, priors: Rows, planned: Rows, *, max_attempts: int, was_started: bool) -> Remaining:
    """What is left.

    Args:
        left: (lane, provider, attempt that is due or under way, tasks); used once something was started.
        priors: (lane, provider, JSON of the newest spend prior, correction).
        planned: (lane, provider, tasks, JSON of the forecast of one of them).
        max_attempts: how many attempts a task may have.
    """
    beliefs = {(row[0], row[1]): found for row in planned if (found := _of_plan(row[3])) is not None}
    beliefs |= {(row[0], row[1]): found for row in priors if (found := _of_prior(row[2], row[3])) is not None}
    wanted = left if was_started else tuple((row[0], row[1], 1, row[2]) for row in planned)
    groups, tasks, unknown = [], 0, 0
    for lane, provider, attempt, n in wanted:
        tasks += n
        belief = beliefs.get((lane, provider))
        if belief is None:
            unknown += n
        else:
            groups.append(TasksLeft(belief, provider, n, most=max(1, max_attempts - attempt + 1), limit=max_attempts))
    return Remaining(tasks, unknown, None if unknown else left_total(groups))


@lru_cache(maxsize=REMEMBERED)
def _of_prior(text: str, correction: float) -> AttemptBelief | None:
    """What a stored prior says of the dollars of an attempt; None when no receipt knows them, or an older version wrote it."""
    stored = json.loads(text).get("cost_usd", {}).get("attempt")
    return None if stored is None else AttemptBelief.from_json(stored).corrected(correction)


@lru_cache(maxsize=REMEMBERED)
def _of_plan(text: str | None) -> AttemptBelief | None:
    """What a plan's forecast says of the dollars of an attempt; None when the task was never estimated."""
    cost: Mapping[str, Any] = (json.loads(text or "null") or {}).get("spend", {}).get("cost_usd") or {}
    if "attempt" in cost:
        return AttemptBelief.from_json(cost["attempt"])
    mean = cost.get("mean") or cost.get("median")
    if mean is None:
        return None
    return belief_of_interval(float(mean), cost.get("low") or mean, cost.get("high") or mean, UNKNOWN_SHARE)
