"""What lies in the registry as evidence?

Provider snapshots and KPI receipts are looked at where they lie; what foreign components write has a table of its own, the
registry's equal of a hash in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.evidence.obligations import Record
from plms_pipeline.evidence.sights import ABSENT, Sight, malformed, sight_of
from plms_pipeline.registry.tables import EvidenceRecord, KpiReceipt, ProviderSnapshot

_PARAMETERS: Final = 900


def look(session: Session, refs: Collection[str]) -> dict[str, Sight]:
    """What lies at each `<table>:<name>/<name>`; a place that does not exist is told as malformed."""
    found: dict[str, Sight] = dict.fromkeys(refs, ABSENT)
    by_table: dict[str, dict[tuple[str, str], str]] = {}
    for ref in refs:
        table, _, rest = ref.partition(":")
        first, slash, second = rest.partition("/")
        if table not in _LOOKS or not slash:
            found[ref] = malformed(f"there is no place {ref[:60]!r}")
        else:
            by_table.setdefault(table, {})[first, second] = ref
    for table, places in by_table.items():
        for place, sight in _LOOKS[table](session, sorted(places)):
            if place in places:
                found[places[place]] = sight
    return found


def _snapshots(session: Session, places: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Sight]]:
    for part in _parts({run_id for run_id, _ in places}):
        rows = session.execute(
            select(
                ProviderSnapshot.run_id, ProviderSnapshot.moment, ProviderSnapshot.taken_at, ProviderSnapshot.sha256,
                ProviderSnapshot.matches,
            ).where(ProviderSnapshot.run_id.in_(part))
        )  # fmt: skip
        for run_id, moment, taken_at, sha256, matches in rows:
            fields = {"sha256": str(sha256)[:16], "matches": str(int(matches))}
            yield (run_id, moment), Sight("evidence", taken_at, fields=fields)


def _kpi_receipts(session: Session, places: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Sight]]:
    """What was measured of a task is its own, however old: equal bytes are measured once."""
    wanted = set(places)
    for part in _parts({run_id for run_id, _ in places}):
        rows = session.execute(
            select(KpiReceipt.run_id, KpiReceipt.task_id, func.max(KpiReceipt.measured_at), func.count())
            .where(KpiReceipt.run_id.in_(part), KpiReceipt.task_id.is_not(None))
            .group_by(KpiReceipt.run_id, KpiReceipt.task_id)
        )
        for run_id, task_id, measured_at, count in rows:
            if run_id is not None and task_id is not None and (run_id, task_id) in wanted:
                yield (run_id, task_id), Sight("evidence", measured_at, is_own=True, fields={"receipts": str(count)})


def _records(session: Session, places: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Sight]]:
    for kind in sorted({kind for kind, _ in places}):
        for part in _parts({subject for other, subject in places if other == kind}):
            rows = session.execute(
                select(
                    EvidenceRecord.subject_id, EvidenceRecord.ts_epoch, EvidenceRecord.correlation_id,
                    EvidenceRecord.fields_json,
                ).where(EvidenceRecord.evidence_kind == kind, EvidenceRecord.subject_id.in_(part))
            )  # fmt: skip
            for subject, stamp, correlation, fields in rows:
                yield (kind, subject), sight_of(_hash(stamp, correlation, fields))


def _hash(stamp: str | None, correlation: str | None, fields: Any) -> dict[str, str]:
    found = {str(key): str(value) for key, value in fields.items()} if isinstance(fields, dict) else {}
    # A row without any field is still something that was written.
    found.setdefault("evidence_kind", "")
    if correlation is not None:
        found["correlation_id"] = correlation
    if stamp is not None:
        found["ts_epoch"] = stamp
    return found


_Look = Callable[[Session, Sequence[tuple[str, str]]], Iterator[tuple[tuple[str, str], Sight]]]
_LOOKS: Final[dict[str, _Look]] = {
    "provider_snapshots": _snapshots,
    "kpi_receipts": _kpi_receipts,
    "evidence_records": _records,
}


def put(session: Session, record: Record, *, now: datetime) -> None:
    """Write evidence; the newest word of a component about a subject stands."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {
        "ts_epoch": record.ts_epoch, "correlation_id": record.correlation_id, "fields_json": dict(record.fields),
        "written_at": now,
    }  # fmt: skip
    session.execute(
        dialect.insert(EvidenceRecord)
        .values(evidence_kind=record.evidence_kind, subject_id=record.subject_id, **values)
        .on_conflict_do_update(index_elements=["evidence_kind", "subject_id"], set_=values)
    )


def remove(session: Session, evidence_kind: str, subject_id: str) -> None:
    """Remove what was written about a subject."""
    session.execute(
        delete(EvidenceRecord).where(
            EvidenceRecord.evidence_kind == evidence_kind, EvidenceRecord.subject_id == subject_id
        )
    )


def _parts(values: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), _PARAMETERS):
        yield ordered[start : start + _PARAMETERS]
