"""How does an approved candidate become the champion, and how does the one before come back?

The approval is committed first; the promotion is an action of its own, and carrying it out twice changes nothing. Files are
read and hashed, then one short transaction looks at everything again and adds the next row of `champions`. Whoever is killed
before the commit leaves the old champion, after it the new one: there is no moment at which none serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions import store as decided
from plms_pipeline.decisions.actions import decide
from plms_pipeline.decisions.actions import deciding as recording
from plms_pipeline.decisions.rules import reason_of
from plms_pipeline.errors import Conflict, NoData, NotFound
from plms_pipeline.models.actions import checking
from plms_pipeline.models.actions.candidates import require
from plms_pipeline.models.actions.deciding import NewId, Places, tell
from plms_pipeline.models.decision.record import ROLLBACK, binds, require_signature
from plms_pipeline.models.decision.stack import before
from plms_pipeline.models.decision.words import APPROVALS
from plms_pipeline.models.files.candidate import check_bytes, check_data
from plms_pipeline.models.records import APPROVED, PROMOTED, REPLACED, Candidate, Champion, Switch
from plms_pipeline.models.store import candidates, champions, switches
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.patience import impatient

PROMOTION = "promotion"
AS_JUDGED = "as judged"
MISSING = "missing"
# More promotions of one family than anybody will ever take back.
HISTORY = 1000


@dataclass(frozen=True, slots=True)
class Promoted:
    """The champion, whether it is one only now, and what whoever brought it back must know (`warnings`)."""

    champion: Champion
    is_new: bool
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {"champion": self.champion.as_json(), "is_new": self.is_new, "warnings": list(self.warnings)}


def promote(
    registry: Registry, *, root: Path, candidate_id: str, actor: Actor, clock: Clock, ids: NewId, key: str | None = None,
    golden: Mapping[str, checking.Golden] | None = None,
) -> Promoted:  # fmt: skip
    """Make an approved candidate the champion of its family; the champion itself is left as it is.

    Args:
        root: the data folder.
        actor: who carries the decision out: a person or a sensor.
        key: asks for the signature of the decision.

    Raises:
        NotFound: there is no such candidate.
        Conflict: nobody approved it (`not_approved`), its decision is about other bytes (`decision_altered`) or not signed
            (`not_signed`, `bad_signature`), it cannot go live (see `checking`), or another was promoted meanwhile
            (`champion_changed`).
    """
    now = clock.now()
    with registry.reading() as session:
        candidate = require(session, candidate_id)
        present = champions.current(session, candidate.family)
    if candidate.state == PROMOTED and present is not None and present.candidate_id == candidate_id:
        return Promoted(present, is_new=False)
    word = "approve_with_caps" if candidate.caps else "approve"
    with registry.reading() as session:
        _require_approved(session, candidate, key)
    found = checking.blockers(registry, root, candidate, now=now, decision=word, golden=golden, caps=candidate.caps)
    checking.refuse(candidate, found)
    with registry.writing() as session:
        impatient(session)
        again = require(session, candidate_id)
        present = champions.current(session, candidate.family)
        if again.state == PROMOTED and present is not None and present.candidate_id == candidate_id:
            return Promoted(present, is_new=False)
        if again != candidate:
            _require_approved(session, again, key)
            raise Conflict(f"Candidate {candidate_id} changed meanwhile; promote it again.", code="candidate_changed")
        checking.refuse(candidate, checking.stopped(session, candidate.family, now))
        assert candidate.decision_id is not None  # noqa: S101 - an approved candidate has one, says the database
        champion = _add(session, candidate, present, PROMOTION, candidate.decision_id, candidate.caps, actor, now, ids)
        _swap(session, candidate, present, was=APPROVED)
        audit.record(
            session, at=now, actor=actor, action="model.promote", subject=f"candidate:{candidate_id}", outcome="promoted",
            details={"family": candidate.family, "sequence": champion.sequence, "decision_id": candidate.decision_id},
        )  # fmt: skip
        return Promoted(champion, is_new=True)


def _require_approved(session: Session, candidate: Candidate, key: str | None) -> None:
    """The decision behind an approved candidate is an approval of these bytes, signed where that is asked for."""
    row = None if candidate.decision_id is None else decided.find(session, candidate.decision_id)
    if candidate.state != APPROVED or row is None or row.decision not in APPROVALS:
        raise Conflict(
            f"Candidate {candidate.candidate_id} is {candidate.state.replace('_', ' ')}; what is promoted was approved by a "
            f"person first: plms model decide {candidate.candidate_id} approve",
            code="not_approved",
        )
    document = row.payload if isinstance(row.payload, dict) else {}
    same_caps = (document.get("caps") or None) == (dict(candidate.caps) if candidate.caps else None)
    if not binds(document, candidate) or not same_caps or document.get("decision") != row.decision:
        raise Conflict(
            f"The decision {row.decision_id} is not about what candidate {candidate.candidate_id} is now; decide again.",
            code="decision_altered",
        )
    require_signature(document, key.encode() if key else None)


def rollback(
    registry: Registry, *, places: Places, family: str, reason: str, actor: Actor, clock: Clock, ids: NewId,
    to: str | None = None,
) -> Promoted:  # fmt: skip
    """Bring back the champion before the present one. It was approved once: no second person is asked.

    It is the emergency exit: guardrails that are off, halts and broken service levels do not hold it back, but what was off
    stands in its record. Bytes that nobody judged do: a model, summary or data that were altered never come back. Data that
    are gone were purged; the model serves without them, and that is told.

    Args:
        to: a candidate that was champion once; the one before when omitted.

    Raises:
        NoData: nothing was ever promoted (`no_champion`), or a file of it is gone (`file_missing`).
        NotFound: `to` never served (`never_served`).
        Conflict: there is nothing before it (`nothing_before`), it serves already (`already_serving`), its files are not
            those that were approved (see `check_bytes`), or another was promoted meanwhile (`champion_changed`).
        BadInput: no reason, or a file cannot be read.
        Unavailable: somebody else held the books for too long.
    """
    now, why = clock.now(), reason_of(reason)
    with registry.reading() as session:
        impatient(session)
        history = champions.history(session, family, limit=HISTORY)
        target = _target(family, history, to)
        candidate = require(session, target.candidate_id)
    data = _data_of(places.root, candidate)
    with recording(registry, clock, actor, f"decide.{ROLLBACK}", f"family:{family}") as session:
        present = champions.current(session, family)
        if present is None or present.sequence != history[0].sequence:
            raise Conflict(f"Another champion of {family} was promoted meanwhile; look again.", code="champion_changed")
        switch, halts = switches.guardrails(session, family), switches.open_halts(session, family)
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=ROLLBACK, subject_type="family", subject_id=family, decision="rollback",
            reason=why, actor=actor, evidence_sha256=target.evaluation_sha256,
            payload={
                "from": present.candidate_id, "to": target.candidate_id, "checkpoint_sha256": target.model_sha256,
                "approved_by_decision": target.decision_id, "caps": dict(target.caps or {}), "data": data,
                "guardrails": "on" if switch.enabled else "off", "halts": [one.halt_id for one in halts],
            },
        )  # fmt: skip
        champion = _add(session, candidate, present, ROLLBACK, decision_id, target.caps, actor, now, ids)
        _swap(session, candidate, present, was=REPLACED)
    tell(registry, places)
    return Promoted(champion, is_new=True, warnings=_warnings(family, data, switch))


def _data_of(root: Path, candidate: Candidate) -> str:
    """Compare every file of a candidate, its data too; whether these are `as judged` or `missing`.

    Raises:
        NoData, Conflict, BadInput: as `check_bytes`, of anything but data that are gone.
    """
    document = check_bytes(root, candidate, with_data=False)
    try:
        check_data(root, candidate, document)
    except NoData:
        return MISSING
    return AS_JUDGED


def _warnings(family: str, data: str, switch: Switch) -> tuple[str, ...]:
    found = []
    if not switch.enabled:
        found.append(
            f"The guardrails of {family} are off since {switch.by} switched them off: what serves now is not limited. "
            "`plms model guardrails on` turns them on."
        )
    if data == MISSING:
        found.append(
            "The data that it was trained on are gone: it serves, but scores no bars without a history of their own, and "
            "cannot be promoted anew. Bring them back from a backup."
        )
    return tuple(found)


def _target(family: str, history: list[Champion], to: str | None) -> Champion:
    if not history:
        raise NoData(
            f"Nothing of {family} was ever promoted, so nothing can be brought back; `plms model list` shows what waits.",
            code="no_champion",
        )
    if to is None:
        found = before(history)
        if found is None:
            raise Conflict(
                f"There is no champion of {family} before {history[0].candidate_id}; nothing was rolled back.",
                code="nothing_before",
            )
        return found
    if history[0].candidate_id == to:
        raise Conflict(f"Candidate {to[:64]} serves already.", code="already_serving")
    served = next((one for one in history if one.candidate_id == to), None)
    if served is None:
        raise NotFound(f"Candidate {to[:64]!r} never served {family}; `plms model history`.", code="never_served")
    return served


def _add(
    session: Session, candidate: Candidate, present: Champion | None, kind: str, decision_id: str,
    caps: Mapping[str, object] | None, actor: Actor, now: datetime, ids: Callable[[], str],
) -> Champion:  # fmt: skip
    sequence = 1 if present is None else present.sequence + 1
    # A clock that went back must not make a past moment have two champions.
    at = now if present is None else max(now, present.promoted_at)
    champions.add(
        session, promotion_id=ids(), family=candidate.family, sequence=sequence, kind=kind,
        candidate_id=candidate.candidate_id,
        hashes=(candidate.bytes.model, candidate.bytes.evaluation, candidate.bytes.data), caps=caps,
        decision_id=decision_id, promoted_at=at, promoted_by=actor.name[:255],
    )  # fmt: skip
    added = champions.current(session, candidate.family)
    assert added is not None  # noqa: S101 - it was added above
    return added


def _swap(session: Session, candidate: Candidate, present: Champion | None, *, was: str) -> None:
    if present is not None and present.candidate_id != candidate.candidate_id:
        candidates.move(session, present.candidate_id, was=PROMOTED, state=REPLACED)
    if not candidates.move(session, candidate.candidate_id, was=was, state=PROMOTED):
        raise Conflict(f"Candidate {candidate.candidate_id} changed meanwhile; look again.", code="candidate_changed")
