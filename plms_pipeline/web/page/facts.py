"""What does the page know of the books at one moment?

One snapshot, read in one transaction, for everybody who looks: two of them are compared to learn what changed, and what is
answered is made from one, with the clock of the moment in which somebody asks. Hence nothing here depends on the clock, and
equal facts are equal values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from plms_pipeline.budget.depletion import Lumps
from plms_pipeline.runs.remaining import Remaining

OPEN_STATES: Final = ("planning", "pending_approval", "approved", "executing", "validating", "needs_review")
# States of a project that money may be spent in.
AT_WORK: Final = ("approved", "executing", "validating", "needs_review")
MOST_PROJECTS: Final = 500
MOST_RUNS: Final = 25
MOST_WAITING: Final = 50


@dataclass(frozen=True, slots=True)
class RunHead:
    """The newest run that is a project's own work, and its tasks by status."""

    run_id: str
    status: str
    validation: str
    done: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """A project that is not over.

    `spent_usd` and `reserved_usd` are its account in the ledger. `recent` are the receipts of runs under way that ended in the
    last minutes: (end, USD); `run_usd` is the sum of all of theirs, `costs` and `durations` say how uneven they are. `left` is
    what its open tasks will take. `receipts` and `gates` count rows: what is derived from those changes with them.
    """

    project_id: int
    name: str
    status: str
    owner: str
    breach_policy: str
    held_because: str | None
    budget_usd: Decimal | None
    estimated_usd: Decimal | None
    planned_tasks: int
    spent_usd: Decimal
    reserved_usd: Decimal
    left: Remaining
    active_since: datetime | None
    run_usd: Decimal
    costs: Lumps
    durations: Lumps
    recent: tuple[tuple[datetime, Decimal], ...]
    receipts: int
    gates: int
    run: RunHead | None


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """A lane: its cap, the slots that are held, the cards that wait, and those of them that wait for nothing but their turn."""

    lane_id: int
    name: str
    description: str
    cap: int
    is_active: bool
    running: int
    waiting: int
    ready: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run in the list; `gates` counts its KPI receipts."""

    run_id: str
    project_id: int
    project_name: str
    run_kind: str
    status: str
    validation: str
    is_let_pass: bool | None
    write_sandbox: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    done: int
    failed: int
    running: int
    waiting: int
    skipped: int
    gates: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits for a person's decision. `facts` is what the list shows of it: names and plain values."""

    kind: str
    subject: str
    since: datetime | None
    asked_by: str | None
    project_id: int | None
    project_name: str | None
    run_id: str | None
    lane_id: int | None
    facts: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """A kill switch that is on, or a record that something was seen."""

    scope: str
    subject: str
    reason: str
    actor: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the page knows of the books. `outside` marks what lies beside them: flag file, proofs."""

    projects: tuple[ProjectFacts, ...]
    projects_in_all: int
    lanes: tuple[LaneFacts, ...]
    queue: tuple[str, ...]
    runs: tuple[RunFacts, ...]
    waiting: tuple[Waiting, ...]
    switches: tuple[Switch, ...]
    alerts: tuple[object, ...]
    outside: tuple[object, ...] = ()
