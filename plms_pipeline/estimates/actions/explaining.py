"""Why does a run teach or not, and what did its receipts move?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.estimates.actions.believing import facts_at
from plms_pipeline.estimates.beliefs import BasisBeliefs, Beliefs, beliefs_of
from plms_pipeline.estimates.daily import EPOCH, MS_PER_DAY, day_facts
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.policy import Verdict, explain
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.priors import moments
from plms_pipeline.estimates.receipts import Receipts
from plms_pipeline.estimates.store import receipts as books
from plms_pipeline.measures import BASES, Basis, Measure
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed about one (lane, provider, measure): receipts, α mean, median and 90 % interval."""

    n: int
    mean: float | None
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Moved:
    """One prior without and with the run."""

    basis: Basis
    lane_id: int
    provider: str
    measure: Measure
    without: Belief
    with_it: Belief


@dataclass(frozen=True, slots=True)
class ReceiptVerdicts:
    """One receipt of the run: what it took, and every rule of each basis."""

    task_id: str
    attempt: int
    lane_id: int
    provider: str
    completed_at: datetime
    measures: dict[Measure, float | None]
    verdicts: dict[Basis, Sequence[Verdict]]

    def teaches(self, basis: Basis) -> bool:
        """Whether every rule of a basis holds."""
        return all(verdict.holds for verdict in self.verdicts[basis])


@dataclass(frozen=True, slots=True)
class Explanation:
    """A run, its receipts and what they moved."""

    run_id: str
    receipts: Sequence[ReceiptVerdicts]
    moved: Sequence[Moved]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "run_id": self.run_id,
            "receipts": [
                {
                    "task_id": one.task_id, "attempt": one.attempt, "lane_id": one.lane_id, "provider": one.provider,
                    "completed_at": one.completed_at.isoformat(), "measures": one.measures,
                    "teaches": {basis: one.teaches(basis) for basis in BASES},
                    "rules": {basis: [asdict(verdict) for verdict in found] for basis, found in one.verdicts.items()},
                }
                for one in self.receipts
            ],
            "moved": [asdict(one) for one in self.moved],
        }  # fmt: skip


def explain_run(registry: Registry, run_id: str, *, alpha: float, at: datetime) -> Explanation:
    """Every rule with its value for each receipt of a run, and the priors at an instant without and with them.

    Raises:
        BadInput: the run is unknown.
        NoData: it has no receipt yet.
    """
    with registry.reading() as session:
        mine = books.receipts_of_run(session, run_id)
        if not len(mine):
            if not books.run_exists(session, run_id):
                raise BadInput(
                    f"There is no run {run_id!r}; `plms run list` and the files that were imported name those that there are.",
                    code="unknown_run",
                )
            raise NoData(f"The run {run_id} has no receipt yet, so it taught nothing.")
        days = sorted({EPOCH + timedelta(days=int(number)) for number in mine.completed_ms // MS_PER_DAY})
        others = [fact for fact in facts_at(session, at, alpha=alpha) if fact.day not in days]
        on_days = [books.receipts_of_day(session, day, until=at) for day in days]
    facts = {"alpha": alpha, "forgetting": METHOD.forgetting}
    both = []
    for with_it in (False, True):
        chosen = on_days if with_it else [day.part(day.run_id != run_id) for day in on_days]
        fresh = [fact for day in chosen for fact in day_facts(day, **facts)]
        both.append(beliefs_of([*others, *fresh], forgetting=METHOD.forgetting))
    return Explanation(run_id, _verdicts(mine), _moved(mine, *both))


def _verdicts(mine: Receipts) -> list[ReceiptVerdicts]:
    return [
        ReceiptVerdicts(
            str(mine.task_id[row]), int(mine.attempt[row]), int(mine.lane_id[row]), str(mine.provider[row]),
            datetime.fromtimestamp(int(mine.completed_ms[row]) / 1000, UTC),
            {name: None if np.isnan(values[row]) else float(values[row]) for name, values in mine.measures.items()},
            {basis: explain(mine.policy, row, basis) for basis in BASES},
        )
        for row in range(len(mine))
    ]  # fmt: skip


def _moved(mine: Receipts, without: Beliefs, with_it: Beliefs) -> list[Moved]:
    cells = sorted(set(zip(mine.lane_id.tolist(), mine.provider.tolist(), strict=True)))
    moved = []
    for basis in BASES:
        for measure in with_it.bases[basis].states:
            for lane, provider in cells:
                before = _belief(without.bases[basis], measure, lane, provider)
                after = _belief(with_it.bases[basis], measure, lane, provider)
                if after and before and after != before:
                    moved.append(Moved(basis, lane, provider, measure, before, after))
    return moved


def _belief(part: BasisBeliefs, measure: Measure, lane: int, provider: str) -> Belief | None:
    state = part.states.get(measure)
    if state is None:
        return None
    found = predict(state, lane, provider)
    low, high = found.interval()
    cell = (lane, provider)
    known = state.cells.get(cell)
    mean = moments(state, [cell])[0] if known else None
    return Belief(known.count if known else 0, mean, found.median, low, high)
