"""How much was done, ended and refused since the counting began? Each table behind a mark of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.monitoring.exporter.catalogue.work import REFUSALS
from plms_pipeline.monitoring.exporter.series import Samples, Spread
from plms_pipeline.monitoring.exporter.store import grown as store
from plms_pipeline.monitoring.exporter.tally import BEGINS_BEFORE, SETTLED_AFTER, Amounts, Tally
from plms_pipeline.portfolio.guarding import ORDER

Key = tuple[str, ...]
_ENFORCED: Final = "guard.enforce"
_REFUSED: Final = "http.refused"


@dataclass(slots=True)
class Grown:
    """The counts so far, and how far they reach."""

    receipts: Tally[Key, int] = field(default_factory=Tally)
    gates: Tally[Key, int] = field(default_factory=Tally)
    runs: Tally[Key, datetime] = field(default_factory=Tally)
    observations: Tally[Key, datetime] = field(default_factory=Tally)
    refusals: Tally[Key, datetime] = field(default_factory=Tally)
    day: datetime | None = None

    def read(self, session: Session, samples: Samples, *, now: datetime, day_began: datetime) -> float:
        """Count what came and say it; what receipts of today cost, in USD.

        Args:
            day_began: when the day of the budgets began.
        """
        until = now - SETTLED_AFTER
        today = self._receipts(session, samples, now, until, day_began)
        self._gates(session, samples, now, until)
        self._runs(session, samples, now, until)
        since = self.observations.mark or now - BEGINS_BEFORE
        rows = store.observations(session, since=since, until=max(since, until))
        for key, (count,) in self.observations.move(max(since, until), rows).items():
            samples.put("plms_evidence_observations_total", count, *key)
        self._refusals(session, samples, now, until)
        return today

    def _receipts(self, session: Session, samples: Samples, now: datetime, until: datetime, day: datetime) -> float:
        if self.day is not None and self.day != day:
            self.receipts.rename(lambda key: (*key[:2], "before"))
        self.day = day
        since = self.receipts.mark
        if since is None:
            since = store.receipt_mark(session, now - BEGINS_BEFORE, None)
        mark = store.receipt_mark(session, until, since)
        counted = self.receipts.move(mark, store.receipts(session, since=since, until=mark, day_began=day))
        ended: dict[Key, Amounts] = {}
        for (lane, status, _), amounts in counted.items():
            before = ended.get((lane, status))
            ended[lane, status] = amounts if before is None else _added(before, amounts)
        for (lane, status), amounts in ended.items():
            samples.put("plms_tasks_ended_total", amounts[0], lane, status)
        for lane in {lane for lane, _ in ended}:
            both = [amounts for (one, _), amounts in ended.items() if one == lane]
            _, retried, usd, tokens, seconds, *buckets = (sum(column) for column in zip(*both, strict=True))
            samples.put("plms_tasks_retried_total", retried, lane)
            samples.put("plms_task_cost_usd_total", usd, lane)
            samples.put("plms_task_tokens_total", tokens, lane)
            samples.put("plms_task_duration_seconds", Spread(tuple(int(one) for one in buckets), seconds), lane)
        return sum(amounts[2] for (_, _, when), amounts in counted.items() if when == "today")

    def _gates(self, session: Session, samples: Samples, now: datetime, until: datetime) -> None:
        since = self.gates.mark
        if since is None:
            since = store.kpi_mark(session, now - BEGINS_BEFORE, None)
        mark = store.kpi_mark(session, until, since)
        for key, (count,) in self.gates.move(mark, store.gates(session, since=since, until=mark)).items():
            samples.put("plms_kpi_gates_total", count, *key)

    def _runs(self, session: Session, samples: Samples, now: datetime, until: datetime) -> None:
        since = self.runs.mark or now - BEGINS_BEFORE
        counted = self.runs.move(max(since, until), store.runs(session, since=since, until=max(since, until)))
        if not counted:
            return
        for (kind, status), amounts in counted.items():
            samples.put("plms_runs_ended_total", amounts[0], kind, status)
        _, seconds, *buckets = (sum(column) for column in zip(*counted.values(), strict=True))
        samples.put("plms_run_duration_seconds", Spread(tuple(int(one) for one in buckets), seconds))

    def _refusals(self, session: Session, samples: Samples, now: datetime, until: datetime) -> None:
        since = self.refusals.mark or now - BEGINS_BEFORE
        mark = max(since, until)
        rows = store.refusals(session, (_ENFORCED, _REFUSED), since=since, until=mark)
        counted = self.refusals.move(mark, rows)
        codes = dict.fromkeys(REFUSALS, 0.0)
        for (action, outcome), (count,) in counted.items():
            if action == _REFUSED:
                codes[outcome if outcome in codes else "other"] += count
            elif outcome in ORDER:
                samples.put("plms_guard_refusals_total", count, outcome)
        samples.put_by("plms_http_refusals_total", codes)


def _added(first: Amounts, second: Amounts) -> Amounts:
    return tuple(one + other for one, other in zip(first, second, strict=True))
