"""Which receipts are there, and what does the calibration policy ask of their runs?

Every receipt is joined with its own run by run_id, and with its own task; a lane accepts ungated work when a person decided so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, and_, bindparam, func, select
from sqlalchemy.orm import Session

from plms_pipeline.estimates.policy import ACCEPT_UNGATED
from plms_pipeline.estimates.receipts import Receipts
from plms_pipeline.measures import Measure
from plms_pipeline.registry.tables import (
    Decision,
    Lane,
    LaneAlias,
    ProjectRun,
    ReceiptDay,
    RunPassport,
    RunTask,
    TaskReceipt,
)

FETCH_ROWS: Final = 20_000
_PLACES: Final[dict[Measure, int]] = {"tokens": 8, "duration_ms": 9, "cost_usd": 10}


# Put together once: to put 22 columns together costs more than to answer, and each settlement asks for some days.
_QUERY: Final[Select[*tuple[Any, ...]]] = (
    select(
        TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskReceipt.lane_id, TaskReceipt.provider,
        TaskReceipt.started_at, TaskReceipt.completed_at, TaskReceipt.natural_key, TaskReceipt.tokens,
        TaskReceipt.duration_ms, TaskReceipt.cost_usd, TaskReceipt.source_file_sha256, ProjectRun.run_kind,
        ProjectRun.write_sandbox, ProjectRun.validation, ProjectRun.verdict_by, ProjectRun.validation_pass_override,
        ProjectRun.override_teaches, func.coalesce(RunPassport.is_complete, False), TaskReceipt.status,
        RunTask.status, RunTask.validation,
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .outerjoin(RunPassport, RunPassport.run_id == TaskReceipt.run_id)
    .outerjoin(RunTask, and_(RunTask.run_id == TaskReceipt.run_id, RunTask.task_id == TaskReceipt.task_id))
    .execution_options(yield_per=FETCH_ROWS)
)  # fmt: skip
_BY_THEN: Final = TaskReceipt.completed_at <= bindparam("until")
_OF_DAY: Final = _QUERY.where(TaskReceipt.completed_on == bindparam("day"))
_OF_DAY_BY_THEN: Final = _OF_DAY.where(_BY_THEN)
_SINCE: Final = _QUERY.where(TaskReceipt.completed_on >= bindparam("first"), _BY_THEN)
_OF_RUN: Final = _QUERY.where(TaskReceipt.run_id == bindparam("run_id"))
_ACCEPTING: Final = (
    select(Decision.subject_id, Decision.decision)
    .where(Decision.kind == ACCEPT_UNGATED, Decision.subject_type == "lane")
    .order_by(Decision.id)
)


def accepting_lanes(session: Session) -> set[int]:
    """Lanes whose ungated work teaches: the newest decision `accept_ungated` about them is an approval."""
    newest = {str(subject): str(decision) for subject, decision in session.execute(_ACCEPTING)}
    return {int(lane) for lane, decision in newest.items() if decision == "approve" and lane.isdecimal()}


def receipts_of_day(session: Session, day: date, *, until: datetime | None = None) -> Receipts:
    """The receipts of a UTC day in canonical order; with `until` only what was completed by then."""
    if until is None:
        return _receipts(_rows(session, _OF_DAY, day=day), accepting_lanes(session))
    return _receipts(_rows(session, _OF_DAY_BY_THEN, day=day, until=until), accepting_lanes(session))


def receipts_since(session: Session, first: date, *, until: datetime) -> Receipts:
    """The receipts from a UTC day on that were completed by `until`, in canonical order."""
    return _receipts(_rows(session, _SINCE, first=first, until=until), accepting_lanes(session))


def receipts_of_run(session: Session, run_id: str) -> Receipts:
    """The receipts of one run, in canonical order."""
    return _receipts(_rows(session, _OF_RUN, run_id=run_id), accepting_lanes(session))


def _rows(session: Session, query: Select[*tuple[Any, ...]], **given: Any) -> list[Any]:
    return [row for part in session.execute(query, given).partitions(FETCH_ROWS) for row in part]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _receipts(rows: list[Any], accepting: set[int]) -> Receipts:
    # Sorted here: the collation of a database server is not the canonical order of text.
    rows.sort(key=lambda row: (row.completed_at, row.natural_key.encode(), row.attempt))
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 22
    override = ["" if value is None else "pass" if value else "fail" for value in columns[16]]
    lane_id = np.asarray(columns[3], dtype=np.int64)
    return Receipts(
        run_id=np.asarray(columns[0], dtype=object),
        task_id=np.asarray(columns[1], dtype=object),
        attempt=np.asarray(columns[2], dtype=np.int64),
        lane_id=lane_id,
        provider=np.asarray(columns[4], dtype=object),
        started_ms=_milliseconds(columns[5]),
        completed_ms=_milliseconds(columns[6]),
        measures={
            name: np.asarray([np.nan if value is None else float(value) for value in columns[place]])
            for name, place in _PLACES.items()
        },
        policy={
            "run_kind": np.asarray(columns[12], dtype=object),
            "write_sandbox": np.asarray(columns[13], dtype=bool),
            "passport_is_complete": np.asarray(columns[18], dtype=bool),
            "verdict_by": np.asarray([_text(value) for value in columns[15]], dtype=object),
            "source_file_sha256": np.asarray([_text(value) for value in columns[11]], dtype=object),
            "validation": np.asarray(columns[14], dtype=object),
            "lane_accepts_ungated": np.isin(lane_id, sorted(accepting)),
            "override": np.asarray(override, dtype=object),
            "override_teaches": np.asarray([bool(value) for value in columns[17]], dtype=bool),
            "receipt_status": np.asarray(columns[19], dtype=object),
            "task_status": np.asarray([_text(value) for value in columns[20]], dtype=object),
            "task_validation": np.asarray([_text(value) for value in columns[21]], dtype=object),
        },
    )


def _milliseconds(moments: Sequence[datetime]) -> NDArray[np.int64]:
    return np.asarray([round(moment.timestamp() * 1000) for moment in moments], dtype=np.int64)


def receipt_counts(session: Session, *, until: date) -> list[tuple[date, int]]:
    """Days with receipts up to and including `until`, and how many each has, in order."""
    query = select(TaskReceipt.completed_on, func.count()).where(TaskReceipt.completed_on <= until)
    return [
        (day, n)
        for day, n in session.execute(query.group_by(TaskReceipt.completed_on).order_by(TaskReceipt.completed_on))
    ]


def day_changes(session: Session) -> dict[date, tuple[int, int]]:
    """Per day with receipts: the change it stands at, and the change its summaries hold."""
    query = select(ReceiptDay.day, ReceiptDay.changed_seq, ReceiptDay.summarised_seq).order_by(ReceiptDay.day)
    return {day: (changed, summarised) for day, changed, summarised in session.execute(query)}


def lane_names(session: Session) -> dict[int, str]:
    """Lane id → name of every registered lane."""
    return {row.lane_id: row.name for row in session.execute(select(Lane.lane_id, Lane.name).order_by(Lane.lane_id))}


def lane_words(session: Session) -> dict[str, int]:
    """Number, name and alias of every lane, case-folded → lane id; a lane's own name wins over an alias."""
    words = {str(alias).casefold(): lane for alias, lane in session.execute(select(LaneAlias.alias, LaneAlias.lane_id))}
    for lane, name in lane_names(session).items():
        words[name.casefold()] = lane
        words[str(lane)] = lane
    return words


def providers(session: Session) -> list[str]:
    """Every provider that has a receipt, in order."""
    return sorted(session.scalars(select(TaskReceipt.provider).distinct()))


def run_exists(session: Session, run_id: str) -> bool:
    """Whether the books know a run."""
    return session.scalar(select(ProjectRun.id).where(ProjectRun.run_id == run_id)) is not None
