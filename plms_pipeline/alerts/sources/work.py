"""Do runs, gates, lanes, guards and letters stand as they should?"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.sources.budget import subject_of
from plms_pipeline.alerts.store import facts
from plms_pipeline.portfolio import files
from plms_pipeline.portfolio.actions.reviews import measure_lanes
from plms_pipeline.portfolio.store import switches
from plms_pipeline.runs.store import views

BUSY: Final = timedelta(hours=2)
QUEUED: Final = timedelta(minutes=30)
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
# Fewer ends say nothing about a share.
ENOUGH: Final = 5
PROJECTS: Final = 10
# Whoever has read no minutes for longer catches up piece by piece.
MOST_PIECES: Final = 8


def passports(asked: Asked) -> Seen:
    """Runs of the last day that could not be replayed."""
    with asked.registry.reading() as session:
        found = facts.runs_without_passport(session, asked.now - timedelta(days=1))
    return Seen(
        tuple(
            Reading("passport_incomplete", f"run:{run}", 1.0, asked.now, f"of project {project}", at, project)
            for run, project, at in found
        )
    )


def gates(asked: Asked) -> Seen:
    """Projects that wait for a person because a gate failed."""
    with asked.registry.reading() as session:
        found = facts.projects_in_review(session)
    return Seen(
        tuple(
            Reading("project_blocked", subject_of(project), 1.0, asked.now, name[:80], project_id=project)
            for project, name in found
        )
    )


def drift(asked: Asked) -> Seen:
    """How far the tokens of each lane lay from their estimates in its last ten projects; unknown below three."""
    found = []
    with asked.registry.reading() as session:
        for lane, name, _ in facts.lanes(session):
            projects = views.newest_projects(session, lane, limit=PROJECTS)
            errors = views.lane_errors(session, projects, lane) if len(projects) >= 3 else {}
            shares = [each[0].error / each[0].estimated for each in errors.values() if each and each[0].estimated]
            if len(shares) >= 3:
                mae = sum(shares) / len(shares)
                detail = f"{name}, over {len(shares)} projects"
                found.append(Reading("calibration_mae_ratio", f"lane:{lane}", mae, asked.now, detail))
    return Seen(tuple(found))


def lanes(asked: Asked) -> Seen:
    """How busy each lane was in two hours, and how many cards always waited in half an hour.

    Whole windows of what `lane_minutes` keeps: so a crossing is found however long nobody looked. Minutes that nobody has read
    yet are read first.
    """
    clock = _Still(asked.now)
    for _ in range(MOST_PIECES):
        measured = measure_lanes(asked.registry, clock=clock)
        if measured.until is None or measured.until > asked.now - 2 * MINUTE:
            break
    with asked.registry.reading() as session:
        known = facts.lanes(session)
        rows = facts.lane_minutes(session, asked.now - BUSY - 2 * MINUTE)
    by_lane: dict[int, list[tuple[datetime, int, int, int]]] = defaultdict(list)
    for lane, minute, cap_ms, busy_ms, queued in rows:
        by_lane[lane].append((minute, cap_ms, busy_ms, queued))
    found = []
    for lane, name, cap in known:
        minutes = by_lane.get(lane, [])
        busy = [one for one in minutes if one[0] >= asked.now - BUSY]
        whole_ms = max(sum(one[1] for one in busy), int(BUSY / MINUTE) * cap * 60_000 - 120_000 * cap)
        ratio = sum(one[2] for one in busy) / whole_ms if whole_ms else 0.0
        found.append(Reading("lane_busy_ratio", f"lane:{lane}", ratio, asked.now, f"{name}, cap {cap}"))
        waited = [one[3] for one in minutes if one[0] >= asked.now - QUEUED]
        least = min(waited) if len(waited) >= int(QUEUED / MINUTE) - 2 else 0
        found.append(Reading("lane_queue", f"lane:{lane}", float(least), asked.now, f"{name}, cap {cap}"))
    return Seen(tuple(found))


class _Still:
    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """The moment of the look."""
        return self._at


def guards(asked: Asked) -> Seen:
    """Starts outside approved projects: how many go on, and how many the rate refused in five minutes."""
    with asked.registry.reading() as session:
        places = facts.launcher_places(session)
        refused = facts.refused_by_rate(session, asked.now - timedelta(minutes=5))
    limit = asked.settings.concurrency_limit
    return Seen((
        Reading("launcher_runs", "launcher", float(places), asked.now, f"of {limit} that may"),
        Reading("rate_limited", "launcher", float(refused), asked.now, f"at {asked.settings.qps_limit:g} a second"),
    ))  # fmt: skip


def failures(asked: Asked) -> Seen:
    """The share of attempts that failed in the last hour; unknown below five."""
    with asked.registry.reading() as session:
        ended, failed = facts.ended_tasks(session, asked.now - HOUR)
    if ended == 0:
        return Seen()
    ratio = failed / ended if ended >= ENOUGH else None
    return Seen((Reading("failure_ratio", "tasks", ratio, asked.now, f"{failed} of {ended} attempts"),))


def letters(asked: Asked) -> Seen:
    """How many dead letters are owed work, and by how many they grew in an hour."""
    with asked.registry.reading() as session:
        owed, growth = facts.letters(session, asked.now - HOUR)
    return Seen((
        Reading("dead_letters", "dead_letters", float(owed), asked.now, f"{owed} are owed work"),
        Reading("dead_letters_growth", "dead_letters", float(max(0, growth)), asked.now, "in an hour"),
    ))  # fmt: skip


def killswitch(asked: Asked) -> Seen:
    """Kill switches that are on, and the flag file."""
    with asked.registry.reading() as session:
        on = switches.that_are_on(session)
    flag = files.flag_reason(asked.settings.data_dir)
    found = [
        Reading("killswitch_on", f"killswitch:{one.where}", 1.0, asked.now, f"{one.reason[:200]} (by {one.actor})",
                one.turned_on_at)
        for one in on
        if not one.is_mirror
    ]  # fmt: skip
    if flag is not None:
        found.append(Reading("killswitch_on", "killswitch:flag file", 1.0, asked.now, flag[:200]))
    return Seen(tuple(found))


def evidence(asked: Asked) -> Seen:
    """Dropped, late and failed observations."""
    with asked.registry.reading() as session:
        found = facts.observations(session, asked.now)
    n, timeouts = found["n"], found["timeout"]
    # Below one in twenty seconds a share says nothing; of none at all nothing is late.
    ratio = timeouts / n if n > 0.05 * 600 else 0.0 if n == 0 else None
    return Seen((
        Reading("evidence_dropped_per_s", "evidence", found["dropped"] / 600, asked.now, f"{found['dropped']} in ten minutes"),
        Reading("evidence_timeout_ratio", "evidence", ratio, asked.now, f"{timeouts} of {n} in ten minutes"),
        Reading("evidence_backend_errors", "evidence", float(found["redis_error"]), asked.now, "in five minutes"),
    ))  # fmt: skip
