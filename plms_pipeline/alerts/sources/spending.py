"""How much of a day's money is gone?"""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.store import money
from plms_pipeline.budget.ledger import LAUNCHER, PORTFOLIO, budget_day, daily_account


def look(asked: Asked) -> Seen:
    """The daily accounts that have a limit, and what everything has spent since midnight of the budget's zone."""
    zone, now = asked.settings.budget_time_zone, asked.now
    day = budget_day(now, zone)
    midnight = datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC)
    accounts = [daily_account(prefix, now, zone) for prefix in (LAUNCHER, PORTFOLIO)]
    with asked.registry.reading() as session:
        found = money.daily_accounts(session, accounts)
        spent = money.spent_since(session, midnight)
    readings = [
        Reading("daily_budget_ratio", account, float(settled / limit), now, f"{settled:.2f} of {limit:.2f} USD settled")
        for account, limit, settled in found
    ]
    readings.append(Reading("spent_today_usd", f"day:{day.isoformat()}", float(spent), now, f"budget day of {zone}"))
    return Seen(tuple(readings))
