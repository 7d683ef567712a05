"""What is asked of the books for the page: the one snapshot, and what is worked out from it when somebody looks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from plms_pipeline.budget.runway import BURN_WINDOW
from plms_pipeline.registry.engine import Registry
from plms_pipeline.web.page.facts import Snapshot
from plms_pipeline.web.page.store import alerts, inbox, lanes, projects

# A receipt that was booked with a moment a little ahead of ours is recent too, and no clock is exact.
SLACK: Final = timedelta(seconds=5)


def read_snapshot(registry: Registry, *, now: datetime, outside: tuple[object, ...]) -> Snapshot:
    """Everything that the page knows of the books, in one transaction.

    Args:
        outside: marks of what lies beside the books: the flag file's reason, the newest proof.

    Raises:
        Unavailable: the registry is away.
    """
    with registry.reading() as session:
        return Snapshot(
            projects=projects.projects(session, recent_since=now - BURN_WINDOW - SLACK),
            projects_in_all=projects.count(session), lanes=lanes.lanes(session), queue=lanes.first_waiting(session),
            runs=lanes.runs(session), waiting=inbox.waiting(session), switches=lanes.on_switches(session),
            alerts=alerts.marks(session), outside=outside,
        )  # fmt: skip
