"""What is told of models: candidates, promotions, and the newest live snapshot with its signs.

Alerts of snapshots are counted behind a mark, like everything that only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.models.records import ESTIMATES, MARKET
from plms_pipeline.models.serving.names import FIGURES
from plms_pipeline.monitoring.exporter.catalogue.models import CODES, DRIFT, LIMITED, OTHER
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.monitoring.exporter.store import models as store
from plms_pipeline.monitoring.exporter.tally import BEGINS_BEFORE

_ALERTS: Final = "plus_ultra_monitoring_alerts_total"


@dataclass(slots=True)
class Models:
    """The counts so far, and how far they reach."""

    are_there: bool = False
    begun: datetime | None = None
    mark: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    alerted_at: datetime | None = None

    def read(self, session: Session, samples: Samples, now: datetime) -> None:
        """Say how models stand; nothing where the registry does not know of them."""
        self.are_there = self.are_there or store.are_there(session)
        if not self.are_there:
            return
        for family, state, count in store.candidates(session):
            samples.put("plms_model_candidates", count, family, state)
        for family, sequence in store.promotions(session):
            samples.put("plms_model_promotions", sequence, family)
        newest = store.newest_snapshot(session, MARKET)
        if newest is not None:
            at, rows, seen = newest
            samples.put("plms_model_snapshot_timestamp_seconds", at.timestamp())
            # Rows are bars of all symbols; the window holds one return of their portfolio per moment.
            held = seen.get("window_count")
            samples.put("plus_ultra_monitoring_window_size", held if isinstance(held, int) else rows)
            _figures(samples, "plus_ultra_monitoring_risk_metric", seen.get("risk"), FIGURES)
            _figures(samples, "plus_ultra_monitoring_drift_metric", seen.get("drift"), DRIFT)
            limits = seen.get("limits")
            limits = limits if isinstance(limits, Mapping) else {}
            _figures(samples, "plms_model_risk_limit", limits.get("risk"), LIMITED)
            _figures(samples, "plms_model_drift_limit", limits.get("drift"), DRIFT)
        watched = store.newest_snapshot(session, ESTIMATES)
        if watched is not None:
            samples.put("plms_estimates_look_timestamp_seconds", watched[0].timestamp())
            _estimates(samples, watched[2])
        self._alerts(session, samples, now)

    def _alerts(self, session: Session, samples: Samples, now: datetime) -> None:
        self.begun = self.begun or now - BEGINS_BEFORE
        for number, at, found in store.codes(session, MARKET, since=self.begun, behind=self.mark):
            self.mark = number
            self.counted.update(code if code in CODES else OTHER for code in found)
            if found:
                self.alerted_at = max(at, self.alerted_at or at)
        samples.put_by(_ALERTS, dict(self.counted))
        if self.alerted_at is not None:
            samples.put("plus_ultra_monitoring_last_alert_timestamp", self.alerted_at.timestamp())


def _estimates(samples: Samples, seen: Mapping[str, Any]) -> None:
    """How the promoted model of estimates stands, where it was promoted; what is not known is absent."""
    heard = {tuple(part) for part in seen.get("heard") or []}
    for one in seen.get("live") or []:
        part = (one["measure"], one["basis"])
        samples.put("plms_estimates_heard", float(part in heard), *part)
        samples.put("plms_estimates_live_forecasts", float(one["n"] or 0), *part)
        for name, figure in (("coverage", "coverage_90"), ("winkler_ratio", "winkler_ratio")):
            if one.get(figure) is not None:
                samples.put(f"plms_estimates_live_{name}", float(one[figure]), *part)


def _figures(samples: Samples, name: str, seen: object, words: tuple[str, ...]) -> None:
    """What is a number of those; a figure that is not known is absent."""
    found: Mapping[str, Any] = seen if isinstance(seen, Mapping) else {}
    for word in words:
        value = found.get(word)
        if isinstance(value, int | float) and not isinstance(value, bool):
            samples.put(name, float(value), word)
