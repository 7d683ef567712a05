"""How does an obligation come into the books?

In the transaction that creates the need (`owe`), where it always may wait; or handed in from outside in a group
(`accept_group`), where only so many may wait at a time: what cannot wait is accepted and ended as `dropped` in the same
transaction, so that accepted = ended + pending holds at every moment and in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.evidence.obligations import EvidenceConfig, Need, Pending
from plms_pipeline.evidence.sights import refused
from plms_pipeline.evidence.store import obligations as store
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Said:
    """A need, and when it was said: its deadline counts from then."""

    need: Need
    at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one need. `is_new` is False when it had been accepted before."""

    obligation_id: str
    is_new: bool
    is_dropped: bool


def owe(session: Session, needs: Iterable[Need], config: EvidenceConfig, *, now: datetime) -> int:
    """Accept needs in the caller's transaction; how many are new."""
    rows = [need.row(config, now=now) for need in needs]
    return len(store.accept(session, rows)) if rows else 0


def accept_group(
    registry: Registry, said: Sequence[Said], config: EvidenceConfig, *, observer_id: str, now: datetime
) -> list[Accepted]:
    """Accept a group in one transaction, each that was new and found no room ended as `dropped`.

    Raises:
        Unavailable: the registry is away; nothing was accepted.
    """
    rows = [each.need.row(config, now=each.at) for each in said]
    with registry.writing() as session:
        store.lock_permits(session)
        room = config.max_inflight - store.count_pending(session, most=config.max_inflight)
        # Only where some find room and others do not it matters which of them are known already.
        known = store.known(session, {str(row["obligation_id"]) for row in rows}) if 0 < room < len(rows) else set()
        fresh = {str(row["obligation_id"]): row for row in rows if row["obligation_id"] not in known}
        late = dict(list(fresh.items())[max(0, room) :])
        # What cannot wait is born ended, with its observation beside it.
        ended = {"state": "terminal", "publication": "due" if config.publishes else "none"}
        new = set(store.accept(session, [{**row, **ended} if key in late else row for key, row in fresh.items()]))
        dropped = new & late.keys()
        observations = (
            refused(_pending(late[key]), "dropped", waited_ms=_ms(late[key], now)).row(
                observer_id=observer_id, config_digest=config.digest, at=now, debug_chars=config.debug_chars
            )
            for key in sorted(dropped)
        )
        store.observe(session, list(observations))
    answers = []
    for row in rows:
        key = str(row["obligation_id"])
        answers.append(Accepted(key, key in new, key in dropped))
        # A need that the same group says twice is new once.
        new.discard(key)
    return answers


def _pending(row: dict[str, Any]) -> Pending:
    return Pending(**{name: row[name] for name in Pending.__slots__})


def _ms(row: dict[str, Any], now: datetime) -> int:
    waited: timedelta = now - row["accepted_at"]
    return max(0, waited // timedelta(milliseconds=1))
