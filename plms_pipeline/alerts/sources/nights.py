"""Did the night come, did it end well, and did it find the books whole?

What a night left behind is read, not what it was asked to do: a night whose report is not there did not happen, whatever the
scheduler says.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from plms_pipeline.alerts import files
from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.store import facts

ZONE: Final = ZoneInfo("America/New_York")
HOUR: Final = time(2)
SUBJECT: Final = "nightly"


def due_night(now: datetime) -> tuple[date, datetime]:
    """The newest night that should have begun: its date in New York, and its instant."""
    local = now.astimezone(ZONE)
    day = local.date() if local.time() >= HOUR else local.date() - timedelta(days=1)
    return day, datetime.combine(day, HOUR, ZONE).astimezone(UTC)


def look(asked: Asked) -> Seen:
    """The newest night and what it proved; nothing where no night has ever run."""
    nights = files.nights(asked.settings.reports_dir)
    day, instant = due_night(asked.now)
    with asked.registry.reading() as session:
        failed = facts.failed_job(session, "nightly", asked.now - timedelta(days=2))
    if not nights:
        found = [] if failed is None else [_failed(asked, failed)]
        return Seen(tuple(found), unknown=frozenset({"invariants_broken", "nightly_absent_hours"}))
    night, summary, proof = nights[0]
    hours = 0.0 if night >= day else (asked.now - instant).total_seconds() / 3600
    readings = [
        Reading("nightly_absent_hours", SUBJECT, hours, asked.now, f"the newest report is of {night}, due was {day}"),
        Reading("invariants_broken", "invariants", *_broken(proof, night, asked.now)),
    ]
    as_of = _moment(summary)
    if failed is not None and (as_of is None or failed[0] > as_of):
        readings.append(_failed(asked, failed))
    elif summary is None:
        readings.append(Reading("nightly_failed", SUBJECT, 1.0, asked.now, f"the summary of {night} cannot be read"))
    else:
        readings.append(Reading("nightly_failed", SUBJECT, 0.0, asked.now))
    return Seen(tuple(readings))


def _failed(asked: Asked, failed: tuple[datetime, str]) -> Reading:
    at, why = failed
    return Reading("nightly_failed", SUBJECT, 1.0, asked.now, why[:200], since=at)


def _broken(proof: dict[str, Any] | None, night: date, now: datetime) -> tuple[float | None, datetime, str]:
    checks = (proof or {}).get("checks")
    if not isinstance(checks, dict):
        return None, now, f"the proof of {night} cannot be read"
    broken = sorted(name for name, check in checks.items() if not check.get("passed"))
    return float(len(broken)), now, f"night of {night}: {', '.join(broken)[:300] or 'all hold'}"


def _moment(summary: dict[str, Any] | None) -> datetime | None:
    try:
        return datetime.fromisoformat(str((summary or {})["as_of"])).astimezone(UTC)
    except (KeyError, ValueError):
        return None
