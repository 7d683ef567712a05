"""What does the registry say now? One snapshot, some forty statements that read sets, whatever the number of projects.

What only grows is counted behind a mark that this reader remembers (`tally.py`), and so is what is dear and changes
slowly: how far estimates were off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import LAUNCHER, PORTFOLIO, budget_day, daily_account
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.rules import REQUEST
from plms_pipeline.monitoring.exporter import runways
from plms_pipeline.monitoring.exporter.actions import grown
from plms_pipeline.monitoring.exporter.actions.models import Models
from plms_pipeline.monitoring.exporter.actions.money import stand
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.catalogue.work import DECISIONS, HOLDS
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.monitoring.exporter.store import alerting, lanes, learning, money, standing
from plms_pipeline.portfolio.actions.switches import Flag
from plms_pipeline.portfolio.buckets import Level, Rate, refilled
from plms_pipeline.portfolio.policies import LAUNCHER_BUCKET, PAS_BUCKET, launcher_policy, pas_rate
from plms_pipeline.portfolio.store.switches import that_are_on
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.decide_verdict import OVERRIDE
from plms_pipeline.runs.store.announcing import active_runs
from plms_pipeline.settings import Settings

ERRORS_EVERY: Final = timedelta(minutes=5)
ERRORS_OF: Final = timedelta(days=7)
# (number, name, cap)
Lane = tuple[str, str, int]
# kind of subject → (pauses, since when the first)
Held = Mapping[str, tuple[int, datetime]]


@dataclass(slots=True)
class BooksReader:
    """Reads the registry for one page after another; not for two threads at once.

    Args:
        flag: why the flag file stops everything, or None.
    """

    settings: Settings
    clock: Clock
    flag: Flag
    grown: grown.Grown = field(default_factory=grown.Grown)
    errors: tuple[datetime, dict[str, float]] | None = None
    models: Models = field(default_factory=Models)
    has_alerts: bool = False
    has_forecasts: bool = False

    def read(self, registry: Registry) -> Samples:
        """Everything that the registry knows.

        Raises:
            Unavailable: it is away.
        """
        samples = Samples(CATALOGUE)
        now = self.clock.now()
        with registry.reading() as session:
            known = lanes.lanes(session)
            _lanes(session, samples, known, now)
            self._guards(session, samples, known, now)
            held = standing.holds(session)
            _standing(session, samples, held, now)
            _boxes(session, samples, now)
            self.has_forecasts = self.has_forecasts or money.are_forecast(session)
            _decisions(session, samples, held, now, has_breaches=self.has_forecasts)
            self._spent(session, samples, now)
            runways.tell(samples, stand(session, now, has_forecasts=self.has_forecasts))
            self._errors(session, samples, now)
            self._alerts(session, samples, now)
            self.models.read(session, samples, now)
            samples.put("plms_registry_size_bytes", learning.size_bytes(session))
        words = {"lane": [lane for lane, _, _ in known]}
        samples.fill("registry", words)
        return samples

    def _guards(self, session: Session, samples: Samples, known: Sequence[Lane], now: datetime) -> None:
        settings = self.settings
        policy = launcher_policy(settings)
        launcher, in_use, suspect = lanes.slots(session)
        samples.put_by("plms_concurrency_in_use", {"launcher": launcher, "executor": active_runs(session)})
        samples.put_by("plms_concurrency_limit", {"launcher": policy.places, "executor": settings.pas_max_runs})
        for lane, name, cap in known:
            taken = in_use.get(lane, 0)
            samples.put("plms_lane_info", 1, lane, name)
            samples.put("plms_lane_cap", cap, lane)
            samples.put("plms_lane_slots_in_use", taken, lane)
            samples.put("plms_lane_slots_suspect", suspect.get(lane, 0), lane)
            samples.put("plms_lane_utilization_ratio", taken / cap if cap else 0.0, lane)
        rates: Mapping[str, tuple[str, Rate]] = {
            "launcher": (LAUNCHER_BUCKET, policy.rate),
            "pas": (PAS_BUCKET, pas_rate(settings)),
        }
        levels = lanes.bucket_levels(session, [name for name, _ in rates.values()])
        for word, (name, rate) in rates.items():
            samples.put("plms_rate_limit_per_second", rate.per_s, word)
            level = Level(*levels[name]) if name in levels else Level(rate.burst, now)
            samples.put("plms_rate_tokens", refilled(level, rate, now).tokens, word)
        samples.put("plms_killswitch_on", self.flag() is not None, "file")
        for switch in that_are_on(session):
            if not switch.is_mirror:
                cells = samples.cells["plms_killswitch_on"]
                samples.put("plms_killswitch_on", _number(cells.get((switch.scope,))) + 1, switch.scope)

    def _spent(self, session: Session, samples: Samples, now: datetime) -> None:
        zone = self.settings.budget_time_zone
        day = budget_day(now, zone)
        began = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
        names = {
            word: daily_account(prefix, now, zone)
            for word, prefix in (("launcher", LAUNCHER), ("portfolio", PORTFOLIO))
        }
        limits = {"launcher": self.settings.daily_budget_usd, "portfolio": self.settings.portfolio_daily_usd}
        found = lanes.accounts(session, list(names.values()))
        for word, name in names.items():
            _, settled, reserved = found.get(name, (None, 0, 0))
            samples.put("plms_daily_budget_spent_usd", float(settled), word)
            samples.put("plms_daily_budget_reserved_usd", float(reserved), word)
            limit = limits[word]
            if limit is not None:
                samples.put("plms_daily_budget_limit_usd", float(limit), word)
        today = self.grown.read(session, samples, now=now, day_began=began)
        samples.put("plms_daily_spend_usd", today + lanes.spent_without_receipt(session, names["launcher"]))

    def _errors(self, session: Session, samples: Samples, now: datetime) -> None:
        if self.errors is None or not timedelta(0) <= now - self.errors[0] < ERRORS_EVERY:
            self.errors = (now, learning.token_errors(session, now - ERRORS_OF))
        samples.put_by("plms_calibration_mae_ratio", self.errors[1])

    def _alerts(self, session: Session, samples: Samples, now: datetime) -> None:
        self.has_alerts = self.has_alerts or alerting.are_there(session)
        if not self.has_alerts:
            return
        for rule, severity, state, count in alerting.alerts(session):
            _add(samples, "plms_alerts", count, severity, state)
            _add(samples, "plms_alerts_open", count if state in ("firing", "acked") else 0, rule)
        for channel, state, count in alerting.deliveries(session):
            samples.put("plms_alert_deliveries", count, channel, state)
        checked_at, failed = alerting.checks(session)
        samples.put_all({
            "plms_alert_deliveries_oldest_age_seconds": _age(alerting.oldest_delivery(session), now),
            "plms_alert_checks_failed": failed,
        })  # fmt: skip
        if checked_at is not None:
            samples.put("plms_alert_checks_oldest_age_seconds", _age(checked_at, now))


def _lanes(session: Session, samples: Samples, known: Sequence[Lane], now: datetime) -> None:
    numbers = {lane for lane, _, _ in known}
    for lane, is_aside, count, since in lanes.queues(session):
        if lane not in numbers:
            continue
        samples.put("plms_queue_put_aside" if is_aside else "plms_queue_depth", count, lane)
        if not is_aside:
            samples.put("plms_queue_oldest_age_seconds", _age(since, now), lane)
    samples.put_by("plms_job_cards_open", lanes.open_cards(session))


def _standing(session: Session, samples: Samples, held: Held, now: datetime) -> None:
    samples.put_by("plms_projects", standing.projects(session))
    samples.put_by("plms_runs", standing.runs(session))
    for kind, (count, _) in held.items():
        _add(samples, "plms_holds", count, kind if kind in HOLDS else "other")
    for kind, error_class, state, count in standing.letters(session):
        samples.put("plms_dead_letters", count, kind, error_class, state)
    samples.put("plms_dead_letters_due", standing.letters_due(session, now))
    for state, count in standing.letters_retried(session).items():
        _add(samples, "plms_dead_letters_retried", count, state if state in ("done", "permanent") else "open")


def _boxes(session: Session, samples: Samples, now: datetime) -> None:
    by_age, since, refused = standing.inbox(session, now)
    samples.put_by("plms_inbox_pending", by_age)
    out = standing.outbox(session)
    pending, overdue = standing.evidence(session, now)
    samples.put_by("plms_idempotency_keys", standing.idempotency_keys(session, now))
    samples.put_all({
        "plms_inbox_oldest_age_seconds": _age(since, now), "plms_inbox_refused": refused,
        "plms_outbox_pending": out["pending"][0] if "pending" in out else 0,
        "plms_outbox_oldest_age_seconds": _age(out["pending"][1], now) if "pending" in out else 0,
        "plms_outbox_failed": out["failed"][0] if "failed" in out else 0,
        "plms_evidence_pending": pending, "plms_evidence_overdue": overdue,
    })  # fmt: skip


def _decisions(session: Session, samples: Samples, held: Held, now: datetime, *, has_breaches: bool) -> None:
    words = {"pending_approval": "project_approval", "needs_review": "project_review"}
    waiting = [(words[state], count, since) for state, count, since in standing.waiting_projects(session)]
    waiting += [standing.waiting_reviews(session), standing.waiting_letters(session)]
    waiting.append(standing.waiting_overrides(session, OVERRIDE, REQUEST))
    if has_breaches:
        waiting.append(("budget_breach", *money.open_breaches(session)))
    pauses = held.values()
    waiting.append(("hold", sum(count for count, _ in pauses), min((since for _, since in pauses), default=None)))
    for kind, count, since in waiting:
        assert kind in DECISIONS  # noqa: S101 - said by `put` too
        samples.put("plms_pending_decisions", count, kind)
        samples.put("plms_pending_decisions_oldest_age_seconds", _age(since, now), kind)


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds since a moment, 0 when there is none or it is still to come."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _number(value: object) -> float:
    return value if isinstance(value, float | int) else 0.0


def _add(samples: Samples, name: str, more: float, *labels: str) -> None:
    before = samples.cells.get(name, {}).get(labels)
    samples.put(name, _number(before) + more, *labels)
