"""How long do budgets last, and by how much will they be overrun?

Projects at work are looked at every time, the others every ten minutes. A project where nothing runs burns nothing, so its
budget does not run dry; what it would cost in the end may be too much all the same. A runway that nobody knows moves
nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.store import money
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import NotFound
from plms_pipeline.runs.actions.views import budget_runway


def look(asked: Asked) -> Seen:
    """Runway and overrun of every open project with a budget."""
    with asked.registry.reading() as session:
        projects = money.watched(session)
    idle_at = _moment((asked.memo or {}).get("idle_at"))
    every = timedelta(seconds=asked.settings.budget_idle_check_s)
    is_idle_due = idle_at is None or not timedelta(0) <= asked.now - idle_at < every
    found: list[Reading] = []
    untouched = set()
    for project_id, name, is_at_work in projects:
        if not is_at_work and not is_idle_due:
            untouched.add(subject_of(project_id))
            continue
        try:
            told = budget_runway(asked.registry, project_id, clock=FrozenClock(asked.now))
        except NotFound:
            continue
        found += readings(project_id, name, told, asked.now, is_at_work=is_at_work)
    memo = {"idle_at": (asked.now if is_idle_due or idle_at is None else idle_at).isoformat()}
    return Seen(tuple(found), frozenset(untouched), memo=memo)


def subject_of(project_id: int) -> str:
    """How alerts call a project."""
    return f"project:{project_id}"


def readings(project_id: int, name: str, told: dict[str, Any], now: datetime, *, is_at_work: bool) -> list[Reading]:
    """What the runway of one project says."""
    budget, runway, subject = told["budget"], told["runway"], subject_of(project_id)
    limit, spent, final = budget["usd_max"], budget["usd_spent"], runway["projected_final_usd"]
    burn = budget["burn_per_min"]
    rate = f", {burn:.4f} USD/min" if burn else ""
    detail = f"{name[:80]}: {spent:.2f} of {limit:.2f} USD spent{rate}"
    overrun = runway["projected_overrun_usd"]
    # Of a budget of nothing no part can be named: whatever is to be spent is more than all of it.
    ratio = None if overrun is None else overrun / limit if limit else 10.0 if overrun else 0.0
    found = [
        Reading(
            "overrun_ratio", subject, ratio, now, f"{name[:80]}: {_usd(final)} projected of {_usd(limit)}",
            project_id=project_id,
        )
    ]  # fmt: skip
    if is_at_work:
        minutes = runway["minutes_to_depletion"]
        found.append(Reading("minutes_to_depletion", subject, minutes, now, detail, project_id=project_id))
    return found


def _usd(amount: float | None) -> str:
    return "an unknown sum" if amount is None else f"{amount:.2f} USD"


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
