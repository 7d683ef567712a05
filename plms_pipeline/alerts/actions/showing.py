"""How do alerts, rules, silences and deliveries stand? Reads for terminal, HTTP, page and Dagster."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from plms_pipeline.alerts import files
from plms_pipeline.alerts.actions.deciding import one_named, silence_of
from plms_pipeline.alerts.machine import State
from plms_pipeline.alerts.routing import Routing
from plms_pipeline.alerts.rules import Rule
from plms_pipeline.alerts.spans import shown_span
from plms_pipeline.alerts.store import deliveries, states
from plms_pipeline.clock import Clock
from plms_pipeline.errors import NotFound
from plms_pipeline.registry.engine import Registry

# What was due for longer than its waits and its lease explain is stuck.
STUCK_AFTER: Final = timedelta(minutes=10)
# A source that nobody has read for so long is read by nobody.
UNREAD_AFTER: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Overview:
    """Alerts, silences, sources and deliveries at one moment; `counts` are those of all alerts, listed or not."""

    at: datetime
    alerts: tuple[State, ...]
    silences: tuple[dict[str, Any], ...]
    sources: tuple[dict[str, Any], ...]
    deliveries: dict[str, int]
    stuck: tuple[str, ...]
    counts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """For machines: what `plms alerts list --json` prints and the API answers."""
        return {
            "at": self.at.isoformat(), "alerts": [alert_json(state) for state in self.alerts], "counts": self.counts,
            "silences": list(self.silences), "sources": list(self.sources), "deliveries": self.deliveries,
            "stuck_deliveries": list(self.stuck),
        }  # fmt: skip


def overview(registry: Registry, *, clock: Clock, also_over: bool = False, limit: int = 200) -> Overview:
    """How everything stands."""
    now = clock.now()
    with registry.reading() as session:
        found = states.listed(session, also_over=also_over, limit=limit)
        quiet = tuple(silence_of(row).as_json() for row in states.silences(session, now))
        checks = states.checks(session)
        in_all = states.open_counts(session)
        counts = deliveries.counts(session)
        stuck = deliveries.stuck(session, before=now - STUCK_AFTER)
    sources = tuple(
        {
            "source": name, "checked_at": one.checked_at.isoformat(), "error": one.error, "readings": one.readings,
            "succeeded_at": one.succeeded_at and one.succeeded_at.isoformat(),
        }
        for name, one in sorted(checks.items())
    )  # fmt: skip
    return Overview(now, tuple(found), quiet, sources, counts, tuple(stuck), in_all)


def unread(found: Overview) -> list[str]:
    """Sources that failed at their last look, or that nobody has looked at for half an hour."""
    wrong = []
    for one in found.sources:
        if one["error"]:
            wrong.append(f"{one['source']}: {one['error']}")
        elif datetime.fromisoformat(one["checked_at"]) < found.at - UNREAD_AFTER:
            wrong.append(f"{one['source']}: last read {one['checked_at']}")
    return wrong


def details(registry: Registry, name: str) -> dict[str, Any]:
    """One alert with what it did and what went to whom.

    Raises:
        NotFound: there is none (`alert_not_found`).
        BadInput: several are meant (`alert_ambiguous`).
    """
    with registry.reading() as session:
        found = one_named(states.named(session, name), name)
        events = states.events(session, str(found.episode_id)) if found.episode_id else []
        sent = deliveries.of_group(session, found.group_id) if found.group_id else []
    return {**alert_json(found), "events": events, "deliveries": sent}


def log(registry: Registry, *, limit: int, only: frozenset[str] | None = None) -> list[dict[str, Any]]:
    """What went to whom, the newest last.

    Args:
        only: deliveries in these states.
    """
    with registry.reading() as session:
        return deliveries.newest(session, limit=limit, states=only)


def runbook(rules: Container[str], rule: str) -> str:
    """What to do about alerts of a rule, as Markdown.

    Raises:
        NotFound: there is no such rule (`rule_not_found`), or no page about it here (`runbook_not_found`).
    """
    if rule not in rules:
        raise NotFound(f"There is no rule {rule[:64]!r}; `plms alerts list --rules` shows them.", code="rule_not_found")
    return files.runbook(rule)


def alert_json(state: State) -> dict[str, Any]:
    """One alert for machines."""
    return {
        "alert_id": state.episode_id, "rule": state.rule, "subject": state.subject, "state": state.state,
        "severity": state.severity, "value": state.value, "detail": state.detail, "project_id": state.project_id,
        "crossed_at": _iso(state.crossed_at), "fired_at": _iso(state.fired_at), "resolved_at": _iso(state.resolved_at),
        "acked_at": _iso(state.acked_at), "acked_by": state.acked_by, "escalations": state.escalations,
        "is_told": state.is_told, "group_id": state.group_id, "runbook": f"docs/runbooks/{state.rule}.md",
    }  # fmt: skip


def rule_json(rule: Rule, routing: Routing) -> dict[str, Any]:
    """One rule for machines, with where it really goes."""
    return {
        "rule": rule.name, "title": rule.title, "input": rule.input.name, "unit": rule.input.unit, "compare": rule.compare,
        "threshold": rule.threshold, "clear": rule.clear, "for": shown_span(rule.for_span), "hold": shown_span(rule.hold),
        "severity": rule.severity, "route": list(routing.targets_of(rule)), "is_enabled": rule.is_enabled,
        "condition": rule.condition, "runbook": routing.runbook(rule.name),
    }  # fmt: skip


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
