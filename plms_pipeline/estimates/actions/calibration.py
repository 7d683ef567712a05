"""What does a night do with the receipts: which teach, what do the priors become, and do the intervals hold?

Reading and computing happen outside write transactions; each write takes the lock of estimates, looks again and
writes only what is new, so that two nights at once give what one gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.estimates.actions.believing import beliefs_at, stale_days
from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.backtest import Backtest, backtest, report
from plms_pipeline.estimates.beliefs import Beliefs
from plms_pipeline.estimates.priors import Prior, priors_of
from plms_pipeline.estimates.receipts import Receipts
from plms_pipeline.estimates.store import receipts as books
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.measures import BASES, MEASURES, Basis, Measure
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json, to_usd

# The one-step-ahead scan walks at most so many receipts: what is older has faded from the corrections anyway.
SCANNED_RECEIPTS: Final = 30_000
TREES: Final[dict[Basis, str]] = {"effort": "calibration", "spend": "calibration_all_receipts"}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Which receipts teach at an instant, and which days are stale."""

    beliefs: Beliefs
    stale: tuple[date, ...]

    def document(self) -> dict[str, Any]:
        """Counts for the nightly report: per basis what teaches, and what does not by the first rule that says no."""
        totals = {basis: part.total() for basis, part in self.beliefs.bases.items()}
        spend = totals["spend"]
        cells = sorted({cell for part in self.beliefs.bases.values() for cell in part.tallies})
        effort_tallies, spend_tallies = (self.beliefs.bases[basis].tallies for basis in BASES)
        return {
            "days": self.beliefs.days,
            "stale_days": [day.isoformat() for day in self.stale],
            "receipts": spend.included + sum(spend.excluded.values()),
            "included": {basis: total.included for basis, total in totals.items()},
            "tasks": {basis: total.tasks for basis, total in totals.items()},
            "excluded": {basis: dict(total.excluded) for basis, total in totals.items()},
            "cells": [
                {
                    "lane_id": lane, "provider": provider,
                    "effort": effort_tallies[lane, provider].included if (lane, provider) in effort_tallies else 0,
                    "spend": spend_tallies[lane, provider].included if (lane, provider) in spend_tallies else 0,
                }
                for lane, provider in cells
            ],
        }  # fmt: skip


def calibration_dataset(registry: Registry, *, as_of: datetime, alpha: float) -> Dataset:
    """What teaches at `as_of`; writes nothing."""
    with registry.reading() as session:
        stored = kept.summaries(session, before=as_of.astimezone(UTC).date())
        return Dataset(beliefs_at(session, as_of, alpha=alpha), tuple(stale_days(session, stored, alpha=alpha)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The backtests of a night, by basis and measure."""

    found: Mapping[tuple[Basis, Measure], Backtest]
    scanned_from: date | None
    as_of: datetime

    def document(self) -> dict[str, Any]:
        """The trees of `summary.json`, and the instant that they hold for."""
        trees: dict[str, Any] = {tree: {} for tree in TREES.values()}
        for (basis, measure), one in self.found.items():
            trees[TREES[basis]][measure] = report(one)
        since = self.scanned_from.isoformat() if self.scanned_from else None
        return {**trees, "scanned_from": since, "as_of": self.as_of.isoformat()}


def run_backtest(registry: Registry, *, as_of: datetime, alpha: float) -> Calibration:
    """Forecast the receipts one step ahead on both bases and store the corrections that hold from the day of `as_of`."""
    as_of = as_of.astimezone(UTC)
    with registry.reading() as session:
        first = scan_start(books.receipt_counts(session, until=as_of.date()))
        if first is None:
            return Calibration({}, None, as_of)
        receipts = books.receipts_since(session, first, until=as_of)
        before = beliefs_at(session, as_of, alpha=alpha, before=first)
    found = _backtests(receipts, before, first, as_of.date())
    with registry.writing() as session:
        kept.hold_lock(session)
        for (basis, measure), one in found.items():
            kept.put_corrections(session, as_of.date(), measure, basis, one.corrections)
    return Calibration(found, first, as_of)


def _backtests(receipts: Receipts, before: Beliefs, first: date, today: date) -> dict[tuple[Basis, Measure], Backtest]:
    found: dict[tuple[Basis, Measure], Backtest] = {}
    for basis in BASES:
        for measure in MEASURES:
            outcomes = receipts.outcomes(measure, basis)
            state = before.bases[basis].states.get(measure)
            if outcomes.value.size:
                earlier = dict(state.cells) if state else {}
                one = backtest(outcomes, measure, today=today, before=earlier, since=first if earlier else None)
                found[basis, measure] = one
    return found


def scan_start(counts: Sequence[tuple[date, int]]) -> date | None:
    """The first day of the scan: as many whole days from the newest back as fit, at least one; None without receipts."""
    total = 0
    first: date | None = None
    for day, n in reversed(counts):
        total += n
        if first is not None and total > SCANNED_RECEIPTS:
            break
        first = day
    return first


@dataclass(frozen=True, slots=True)
class Versions:
    """The priors of a night and how many of them are new versions."""

    priors: Sequence[Prior]
    corrections: Mapping[tuple[int, str, str], Correction]
    written: int

    def document(self) -> dict[str, Any]:
        """What the nightly report shows: per prior its n and, per measure, median and corrected 90 % interval."""
        return {
            "priors": [self._row(prior) for prior in self.priors],
            "versions_written": self.written,
            "versions_unchanged": len(self.priors) - self.written,
        }

    def _row(self, prior: Prior) -> dict[str, Any]:
        row: dict[str, Any] = {
            "lane_id": prior.lane_id, "provider": prior.provider, "basis": prior.basis, "n": prior.n,
            "attempts_per_task": prior.attempts_per_task,
        }  # fmt: skip
        for measure, found in prior.predictives.items():
            held = self.corrections.get((prior.lane_id or 0, measure, prior.basis), Correction(1.0, 0))
            low, high = found.interval(held.value)
            row[measure] = {
                "n": prior.body[measure]["n"], "mean": prior.body[measure]["mean"], "median": found.median, "low": low,
                "high": high, "correction": held.value,
            }  # fmt: skip
        return row


def write_priors(
    registry: Registry, *, as_of: datetime, alpha: float, clock: Clock, errors: Mapping[str, Any] | None = None
) -> Versions:
    """Append a version for every prior whose numbers differ from its newest one.

    Beliefs do not move backwards: a night for an instant before the newest version's folds again at that later instant, because
    days that it summarised anew may be days that the newest versions rest on. They would differ from their receipts until
    the next night of today.

    Args:
        errors: the document of the backtest, whose mean absolute errors are noted beside the numbers.
    """
    as_of = as_of.astimezone(UTC)
    with registry.reading() as session:
        beliefs = beliefs_at(session, as_of, alpha=alpha)
        held = kept.corrections(session, on=as_of.date())
    priors = priors_of(beliefs)
    with registry.writing() as session:
        kept.hold_lock(session)
        latest = kept.latest_versions(session)
        newest = max((known.as_of for known in latest.values()), default=as_of)
        if newest > as_of:
            now = beliefs_at(session, newest, alpha=alpha)
            written = append_versions(session, priors_of(now), now, as_of=newest, now=clock.now(), latest=latest)
        else:
            written = append_versions(
                session, priors, beliefs, as_of=as_of, now=clock.now(), errors=errors, latest=latest
            )
    return Versions(priors, held, written)


def append_versions(
    session: Session,
    priors: Sequence[Prior],
    beliefs: Beliefs,
    *,
    as_of: datetime,
    now: datetime,
    errors: Mapping[str, Any] | None = None,
    latest: Mapping[tuple[int | None, str, str], kept.Latest] | None = None,
) -> int:
    """Append a version for every prior whose numbers differ from its newest one; the caller holds the lock of estimates.

    Returns how many were written. A prior whose newest version speaks of a later instant stays as it is.
    """
    if latest is None:
        latest = kept.latest_versions(session)
    rows = []
    for prior in priors:
        body = canonical_json(prior.body)
        digest = hashlib.sha256(body.encode()).hexdigest()
        known = latest.get(prior.key)
        if known and (known.priors_hash == digest or known.as_of > as_of):
            continue
        rows.append(
            _row_of(prior, errors or {})
            | {
                "version": known.version + 1 if known else 1, "created_at": now, "as_of": as_of,
                "priors_hash": digest, "priors_json": body, "source_digest": beliefs.source_digest,
            }
            | ({} if errors is not None or known is None else known.errors)
        )  # fmt: skip
    kept.add_versions(session, rows)
    return len(rows)


def _row_of(prior: Prior, errors: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "lane_id": prior.lane_id, "provider_name": prior.provider, "basis": prior.basis, "n_observations": prior.n,
        "attempts_per_task": prior.attempts_per_task, "run_kind": "baseline", "write_sandbox": False,
        "validation_pass": True if prior.basis == "effort" else None,
    }  # fmt: skip
    for measure in MEASURES:
        numbers = prior.body.get(measure)
        error = _error_of(errors.get(TREES[prior.basis], {}).get(measure, {}), prior)
        money = measure == "cost_usd"
        for name, value in (
            (f"{measure}_mean", numbers and numbers["mean"]),
            (f"{measure}_stddev", numbers and numbers["stddev"]),
            (f"mean_absolute_error_{measure}", error),
        ):
            row[name] = to_usd(value) if money and value is not None else value
    return row


def _error_of(tree: Mapping[str, Any], prior: Prior) -> float | None:
    if prior.lane_id is None and prior.provider == "*":
        found: float | None = tree.get("overall", {}).get("mae")
        return found
    cells = [
        cell
        for cell in tree.get("cells", [])
        if prior.lane_id in (None, cell["lane_id"]) and prior.provider in ("*", cell["provider"]) and cell["n"]
    ]
    n = sum(cell["n"] for cell in cells)
    return sum(cell["n"] * cell["mae"] for cell in cells) / n if n else None
