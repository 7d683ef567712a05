"""What will this work take, and what does the answer rest on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from plms_pipeline.errors import NoData
from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.actions.calibration import TREES
from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.beliefs import BasisBeliefs, Beliefs, Tally
from plms_pipeline.estimates.forecast import Group, Total, forecast_total
from plms_pipeline.estimates.plan import Work
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.prices.repricing import Repriced
from plms_pipeline.estimates.prices.store import repriced
from plms_pipeline.estimates.state import State
from plms_pipeline.estimates.store import receipts as books
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.measures import Basis, Measure
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import asking_in

Corrections = Mapping[tuple[int, str, str], Correction]
Changed = Mapping[tuple[int, str], Repriced]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a forecast rests on: `level` in words, and the receipts there."""

    level: str
    n: int


@dataclass(frozen=True, slots=True)
class Line:
    """One measure on one basis: the total, its ground, and how often last night's intervals held there."""

    basis: Basis
    measure: Measure
    total: Total
    ground: Ground
    coverage_90: float | None
    coverage_n: int

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "basis": self.basis, "measure": self.measure, **asdict(self.total), "rests_on": asdict(self.ground),
            "last_night": {"coverage_90": self.coverage_90, "n": self.coverage_n},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast of some work; `notes` say what a person must know before relying on it."""

    work: Sequence[Work]
    quantile: float
    lines: Sequence[Line]
    notes: Sequence[str]
    repriced: Sequence[Repriced] = ()

    @property
    def tasks(self) -> int:
        """All tasks."""
        return sum(work.tasks for work in self.work)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "work": [asdict(work) for work in self.work], "tasks": self.tasks, "quantile": self.quantile,
            "forecasts": [line.as_json() for line in self.lines], "notes": list(self.notes),
            "repriced": [one.as_json() for one in self.repriced],
        }  # fmt: skip


def lane_words(registry: Registry) -> dict[str, int]:
    """Every word for a lane, case-folded → lane id."""
    with registry.reading() as session:
        return books.lane_words(session)


def forecasts(
    registry: Registry, plans: Sequence[Sequence[Work]], *, quantile: float, as_of: datetime, alpha: float,
    last_night: Mapping[str, Any],
) -> list[Forecast]:  # fmt: skip
    """One forecast per plan, from everything known at `as_of`.

    Args:
        quantile: the probability with which the budget is to suffice, in (0, 1).
        last_night: the document of the backtest, empty when there was none.

    Raises:
        NoData: there is no receipt that teaches.
    """
    with registry.reading() as session:
        beliefs = beliefs_at(session, as_of, alpha=alpha)
        day = as_of.astimezone(UTC).date()
        held = kept.corrections(session, on=day)
        changed = repriced(
            asking_in(session), [(work.lane_id, work.provider) for plan in plans for work in plan], on=day
        )
    if not any(part.states for part in beliefs.bases.values()):
        raise NoData("No receipt teaches yet, so there is nothing to forecast from; `plms import` brings receipts in.")
    return [_forecast(plan, beliefs, held, changed, quantile, last_night) for plan in plans]


def _forecast(
    plan: Sequence[Work], beliefs: Beliefs, held: Corrections, changed: Changed, quantile: float,
    last_night: Mapping[str, Any],
) -> Forecast:  # fmt: skip
    lines = []
    for basis, part in beliefs.bases.items():
        for measure, state in part.states.items():
            groups = [_group(work, part, state, held, basis, changed) for work in plan]
            total = forecast_total(groups, quantile)
            ground = _ground(plan, state)
            coverage, n = _coverage(plan, last_night.get(TREES[basis], {}).get(measure, {}))
            lines.append(Line(basis, measure, total, ground, coverage, n))
    mine = [changed[cell] for cell in sorted({(work.lane_id, work.provider) for work in plan}) if cell in changed]
    return Forecast(plan, quantile, lines, [*_notes(plan, beliefs), *(one.sentence() for one in mine)], mine)


def _group(work: Work, part: BasisBeliefs, state: State, held: Corrections, basis: Basis, changed: Changed) -> Group:
    correction = held.get((work.lane_id, state.measure, basis), Correction(1.0, 0)).value
    spend = basis == "spend"
    new = changed.get((work.lane_id, work.provider)) if state.measure == "cost_usd" else None
    return Group(
        predict(state, work.lane_id, work.provider), correction, work.provider, work.tasks,
        attempts=part.tallies.get((work.lane_id, work.provider), Tally()) if spend else None,
        all_attempts=part.total() if spend else None, price=1.0 if new is None else new.price,
    )  # fmt: skip


def _ground(plan: Sequence[Work], state: State) -> Ground:
    """The receipts behind the weakest part of a plan, which is what makes its interval wide."""
    return min((_ground_of(work, state) for work in plan), key=lambda ground: (ORDER.index(ground.level), -ground.n))


ORDER = ("nothing: the factory default", "all lanes and providers", "the lane", "the provider", "lane and provider")


def _ground_of(work: Work, state: State) -> Ground:
    counts = {cell: summary.count for cell, summary in state.cells.items()}
    own = counts.get((work.lane_id, work.provider), 0)
    provider = sum(n for (_, name), n in counts.items() if name == work.provider)
    lane = sum(n for (number, _), n in counts.items() if number == work.lane_id)
    for level, n in zip(reversed(ORDER), (own, provider, lane, sum(counts.values())), strict=False):
        if n:
            return Ground(level, n)
    return Ground(ORDER[0], 0)


def _coverage(plan: Sequence[Work], tree: Mapping[str, Any]) -> tuple[float | None, int]:
    """Last night's coverage of the (lane, provider) of a plan; of the lane, or of all, where it had no forecast.

    A lane holds the forecasts of its providers, and all hold those of the lanes: each forecast is counted once.
    """
    cells = {(cell["lane_id"], cell["provider"]): cell for cell in tree.get("cells", []) if cell.get("n")}
    lanes = {int(lane): found for lane, found in tree.get("lanes", {}).items() if found.get("n")}
    wanted = {(work.lane_id, work.provider) for work in plan}
    whole = {lane for lane, provider in wanted if (lane, provider) not in cells}
    if whole - lanes.keys():
        found = [tree.get("overall", {})]
    else:
        found = [lanes[lane] for lane in whole]
        found += [cells[lane, provider] for lane, provider in wanted if lane not in whole]
    n = sum(one.get("n", 0) for one in found)
    return (sum(one["coverage_90"] * one["n"] for one in found) / n, n) if n else (None, 0)


def _notes(plan: Sequence[Work], beliefs: Beliefs) -> list[str]:
    spend = beliefs.bases["spend"].tallies
    known = {provider for (_, provider), tally in spend.items() if tally.included}
    lanes = {lane for (lane, _), tally in spend.items() if tally.included}
    notes = [
        f"no receipt of provider {name!r} yet: forecast as a provider never seen, from what others took"
        for name in sorted({work.provider for work in plan} - known)
    ]
    notes += [
        f"no receipt in lane {lane} yet: forecast from other lanes, with what lanes differ by"
        for lane in sorted({work.lane_id for work in plan} - lanes)
    ]
    return notes
