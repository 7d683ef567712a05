"""How does a person's word about a candidate become part of the books?

One action behind the Dagster job, the page, HTTP and the command line. What goes live needs a second person, the risk lead's
role, and everything that `checking` asks; to stop or to reject, anybody who may decide is enough. The row is written first; the
copies for people beside the summary come after the commit, and are written again when they are missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import SCHEDULE, Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions import store as decided
from plms_pipeline.decisions.actions import decide
from plms_pipeline.decisions.actions import deciding as recording
from plms_pipeline.decisions.rules import is_same_person, reason_of
from plms_pipeline.errors import Conflict, Forbidden, NotFound
from plms_pipeline.models.actions import checking
from plms_pipeline.models.actions.candidates import require
from plms_pipeline.models.actions.escalating import standing
from plms_pipeline.models.decision import words
from plms_pipeline.models.decision.files import write_approval, write_log
from plms_pipeline.models.decision.record import (
    GUARDRAILS,
    HALT_LIFTED,
    KIND,
    KINDS,
    Said,
    decision_log,
    record,
    signed,
)
from plms_pipeline.models.decision.tree import path_of
from plms_pipeline.models.records import MARKET, Candidate, Halt, Switch
from plms_pipeline.models.store import candidates, switches
from plms_pipeline.registry.engine import Registry

NewId = Callable[[], str]
LOG_ROWS: Final = 1000
# How what runs by itself is called: a token vouches for it, but it is nobody.
MACHINE: Final = "sensor:"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Places:
    """Where candidates lie (`root`, the data folder) and where people read (`reports`; None: no decision log)."""

    root: Path
    reports: Path | None = None


@dataclass(frozen=True, slots=True)
class CandidateDecision:
    """What was decided: the candidate as it stands now, and the record."""

    decision_id: str
    candidate: Candidate
    record: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"decision_id": self.decision_id, "candidate": self.candidate.as_json(), "record": dict(self.record)}


def decide_candidate(
    registry: Registry, *, candidate_id: str, decision: str, reason: str, actor: Actor, role: str, places: Places,
    clock: Clock, ids: NewId, caps: Mapping[str, Any] | None = None, evidence_sha256: str | None = None,
    key: str | None = None, auth_disabled: bool = False, golden: Mapping[str, checking.Golden] | None = None,
) -> CandidateDecision:  # fmt: skip
    """Decide about a candidate; an approval leaves it `approved`, to be promoted by `promotion.promote`.

    Args:
        decision: approve, approve_with_caps, request_retrain, reject or halt.
        role: in which the actor decides; only the risk lead signs an approval.
        caps: for approve_with_caps, multiples of the capital base.
        evidence_sha256: digest of the operations summary that the actor was shown; another one is refused.
        key: signs the record (HMAC-SHA256).
        auth_disabled: whether `PLMS_AUTH=disabled` lifts the rule of the second person.

    Raises:
        NotFound: there is no such candidate.
        BadInput: an unknown word, role or cap; no reason.
        Forbidden: the launcher or nobody verified approves (`same_person`, `unverified_decider`), the role may not
            (`needs_risk_lead`), or no person decides (`only_a_person`).
        Conflict: it was decided already, the summary is another (`evidence_changed`), or it cannot go live; the code says
            why (see `checking`).
    """
    word, reason = words.decision_of(decision), reason_of(reason)
    allowed = words.caps_of(caps, word)
    now, decision_id = clock.now(), ids()
    seen = _shown(registry, candidate_id, word, evidence_sha256)
    # Files are read before the transaction: nobody else shall wait for a disk.
    approves = word in words.APPROVALS
    found: tuple[checking.Blocker, ...] = ()
    if approves:
        found = checking.blockers(registry, places.root, seen, now=now, decision=word, golden=golden, caps=allowed)
    with recording(registry, clock, actor, f"decide.{KIND}", f"candidate:{candidate_id}") as session:
        _require_person(actor)
        signer = words.role_of(role, word)
        candidate = require(session, candidate_id)
        state = words.next_state(candidate.state, word, candidate_id)
        said = Said(
            decision_id, word, actor.name[:255], actor.is_verified, signer, reason, allowed, now, candidate.decision_id
        )
        document = _document(candidate, said, key, standing(session, candidate, now))
        decide(
            session, clock_now=now, ids=lambda: decision_id, kind=KIND, subject_type="candidate",
            subject_id=candidate_id, decision=word, reason=reason, actor=actor, role=signer,
            requested_by=candidate.requested_by, evidence_sha256=candidate.bytes.evaluation, payload=document,
            second_person=approves, auth_disabled=auth_disabled,
        )  # fmt: skip
        if approves:
            checking.refuse(candidate, found or checking.stopped(session, candidate.family, now))
        if not candidates.decide(
            session, candidate_id, was=candidate.state, state=state, decision_id=decision_id, decided_at=now,
            decided_by=actor.name[:255], caps=allowed,
        ):  # fmt: skip
            raise Conflict(f"Candidate {candidate_id} was decided about meanwhile.", code="already_decided")
        if word == words.HALT:
            _halt(session, candidate, said, ids)
        after = require(session, candidate_id)
    tell(registry, places, after, document)
    return CandidateDecision(decision_id, after, document)


def _halt(session: Session, candidate: Candidate, said: Said, ids: NewId) -> None:
    switches.halt(
        session, halt_id=ids(), family=candidate.family, decision_id=said.decision_id, reason=said.rationale,
        by=said.reviewer, at=said.decided_at,
    )  # fmt: skip


def _shown(registry: Registry, candidate_id: str, word: str, evidence_sha256: str | None) -> Candidate:
    """The candidate that is decided about, as it is now: undecided, with the summary that the actor was shown."""
    with registry.reading() as session:
        seen = require(session, candidate_id)
    words.next_state(seen.state, word, candidate_id)
    if evidence_sha256 is not None and evidence_sha256 != seen.bytes.evaluation:
        raise Conflict(
            f"The summary of candidate {candidate_id} is not the one that was shown; read it again and decide.",
            code="evidence_changed",
        )
    return seen


def _document(candidate: Candidate, said: Said, key: str | None, more: tuple[str, ...]) -> dict[str, Any]:
    path = path_of((*candidate.alerts, *_doubts(candidate), *more))
    return signed(record(candidate, said, path), key.encode() if key else None)


def _doubts(candidate: Candidate) -> list[str]:
    return [name for name in candidate.blockers if not name.startswith("limit:")]


def _require_person(actor: Actor) -> None:
    if actor.name == SCHEDULE.name or actor.name.startswith(MACHINE):
        raise Forbidden(f"{actor.name} decides nothing about models; a person does.", code="only_a_person")


def lift_halt(
    registry: Registry, *, halt_id: str, reason: str, actor: Actor, places: Places, clock: Clock, ids: NewId,
    role: str | None = None, auth_disabled: bool = False,
) -> Halt:  # fmt: skip
    """Let a family be promoted again. The candidate that was halted can then be decided about anew.

    Args:
        auth_disabled: whether `PLMS_AUTH=disabled` lifts the rule that the halted candidate's launcher does not lift its halt.

    Raises:
        NotFound: there is no such halt (`unknown_halt`).
        Conflict: it was lifted already (`halt_lifted`).
        Forbidden: no person lifts it, or the one who launched the candidate that was halted (`same_person`).
        BadInput: no reason.
    """
    now, decision_id = clock.now(), ids()
    with recording(registry, clock, actor, f"decide.{HALT_LIFTED}", f"halt:{halt_id}") as session:
        _require_person(actor)
        halt = switches.find_halt(session, halt_id)
        if halt is None:
            raise NotFound(
                f"There is no halt {halt_id[:64]!r}; `plms model halts list` shows them.", code="unknown_halt"
            )
        halting = decided.find(session, halt.decision_id)
        launcher = None if halting is None else halting.requested_by
        if launcher is not None and not auth_disabled and is_same_person(actor.name, launcher):
            raise Forbidden(
                f"{actor.name} launched the candidate that was halted; another person says that it may go on.",
                code="same_person",
            )
        decide(
            session, clock_now=now, ids=lambda: decision_id, kind=HALT_LIFTED, subject_type="halt", subject_id=halt_id,
            decision="lift", reason=reason, actor=actor, role=role, requested_by=halt.halted_by,
            payload={"family": halt.family},
        )  # fmt: skip
        if not switches.lift(session, halt_id, decision_id=decision_id, by=actor.name[:255], at=now):
            raise Conflict(f"The halt {halt_id} was lifted by {halt.lifted_by} already.", code="halt_lifted")
    tell(registry, places)
    return replace(halt, lifted_at=now, lifted_by=actor.name[:255], lift_decision_id=decision_id)


def turn_guardrails(
    registry: Registry, *, enabled: bool, reason: str, actor: Actor, places: Places, clock: Clock, ids: NewId,
    family: str = MARKET,
) -> Switch:  # fmt: skip
    """Turn the guardrails of serving on or off; while they are off nothing is promoted.

    Raises:
        Forbidden: no person turns them.
        BadInput: no reason.
    """
    now, why = clock.now(), reason_of(reason)
    with recording(registry, clock, actor, f"decide.{GUARDRAILS}", f"family:{family}") as session:
        _require_person(actor)
        decide(
            session, clock_now=now, ids=ids, kind=GUARDRAILS, subject_type="family", subject_id=family,
            decision="on" if enabled else "off", reason=why, actor=actor,
        )  # fmt: skip
        switches.turn(session, family, enabled=enabled, reason=why, by=actor.name[:255], at=now)
    tell(registry, places)
    return Switch(family, enabled, why, actor.name[:255], now)


def tell(
    registry: Registry, places: Places, candidate: Candidate | None = None, document: Mapping[str, Any] | None = None
) -> None:
    """Write the copies for people; a disk that cannot is told in the log, and the next decision writes them."""
    try:
        if candidate is not None and document is not None:
            write_approval(places.root / candidate.folder, document)
        if places.reports is not None:
            write_log(places.reports, _log_text(registry))
    except OSError as error:
        _log.warning("event=decision_copy_failed error=%s", type(error).__name__)


def rewrite(registry: Registry, places: Places, *, limit: int = 200) -> int:
    """Write the copies again that are missing or are not what the books say; how many candidates had some."""
    with registry.reading() as session:
        found = [
            (one, decided.find(session, one.decision_id))
            for one in candidates.listed(session, limit=limit)
            if one.decision_id is not None
        ]
    written = 0
    try:
        for one, row in found:
            if row is not None and row.payload:
                written += write_approval(places.root / one.folder, row.payload)
        if places.reports is not None:
            write_log(places.reports, _log_text(registry))
    except OSError as error:
        _log.warning("event=decision_copy_failed error=%s", type(error).__name__)
    return written


def _log_text(registry: Registry) -> str:
    with registry.reading() as session:
        rows = [row for kind in KINDS for row in decided.listed(session, kind=kind, limit=LOG_ROWS)]
    return decision_log(sorted(rows, key=lambda row: row.decided_at, reverse=True))
