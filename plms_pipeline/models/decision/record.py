"""What does the record of a decision say, for machines, for people, and under a signature?

The record binds the bytes: the hashes of model, summary, data and manifest, beside who decided in which role, why, whom it was
escalated to and which alerts were seen. `approval.json`, `approval.md` and the decision log are written from it and can be
written again; what counts is the row.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from plms_pipeline.decisions.record import Decided
from plms_pipeline.errors import Conflict
from plms_pipeline.models.records import Candidate
from plms_pipeline.registry.types import canonical_json

SCHEMA_VERSION: Final = 1
KIND: Final = "candidate"
ROLLBACK: Final = "rollback"
HALT_LIFTED: Final = "promotion_halt"
GUARDRAILS: Final = "guardrails"
KINDS: Final = (KIND, ROLLBACK, HALT_LIFTED, GUARDRAILS)
SIGNATURE: Final = "signature"
_SHOWN: Final = (
    "family", "decision_id", "reviewer", "role", "decided_at", "requested_by", "supersedes", "checkpoint_sha256",
    "operations_summary_sha256", "data_sha256", "manifest_sha256",
)  # fmt: skip
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>#|~!])")


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody decided, before it is kept."""

    decision_id: str
    decision: str
    reviewer: str
    reviewer_verified: bool
    role: str
    rationale: str
    caps: Mapping[str, float] | None
    decided_at: datetime
    supersedes: str | None


def record(candidate: Candidate, said: Said, escalation: Iterable[str]) -> dict[str, Any]:
    """The record, unsigned."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": candidate.candidate_id,
        "family": candidate.family,
        "decision_id": said.decision_id,
        "decision": said.decision,
        "checkpoint_sha256": candidate.bytes.model,
        "operations_summary_sha256": candidate.bytes.evaluation,
        "data_sha256": candidate.bytes.data,
        "manifest_sha256": candidate.bytes.manifest,
        "reviewer": said.reviewer,
        "reviewer_verified": said.reviewer_verified,
        "requested_by": candidate.requested_by,
        "role": said.role,
        "rationale": said.rationale,
        "escalation_path": list(escalation),
        "caps": dict(said.caps or {}),
        "alerts_seen": list(candidate.alerts),
        "decided_at": said.decided_at.isoformat(),
        "supersedes": said.supersedes,
    }


def signed(document: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    """The record with its signature (HMAC-SHA256 over its canonical JSON); without a key as it is."""
    if key is None:
        return dict(document)
    return {**document, SIGNATURE: f"hmac-sha256={_mac(document, key)}"}


def require_signature(document: Mapping[str, Any], key: bytes | None) -> None:
    """Compare the signature of a record, where a key is configured.

    Raises:
        Conflict: there is none (`not_signed`), or it is not that of this record under this key (`bad_signature`).
    """
    if key is None:
        return
    given = str(document.get(SIGNATURE, ""))
    if not given:
        raise Conflict(
            f"The decision {document.get('decision_id')} is not signed, and PLMS_APPROVAL_KEY_FILE asks for it; decide again.",
            code="not_signed",
        )
    bare = {name: value for name, value in document.items() if name != SIGNATURE}
    if not hmac.compare_digest(given, f"hmac-sha256={_mac(bare, key)}"):
        raise Conflict(
            f"The signature of decision {document.get('decision_id')} is not that of its record under the key of "
            "PLMS_APPROVAL_KEY_FILE; somebody changed one of them. Decide again.",
            code="bad_signature",
        )


def _mac(document: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, canonical_json(document).encode("utf-8"), hashlib.sha256).hexdigest()


def binds(document: Mapping[str, Any], candidate: Candidate) -> bool:
    """Whether a record is about these bytes."""
    return (
        document.get("run_id") == candidate.candidate_id
        and document.get("checkpoint_sha256") == candidate.bytes.model
        and document.get("operations_summary_sha256") == candidate.bytes.evaluation
        and document.get("data_sha256") == candidate.bytes.data
        and document.get("manifest_sha256") == candidate.bytes.manifest
    )


def approval_markdown(document: Mapping[str, Any]) -> str:
    """The record for people, beside the summary."""
    lines = [f"# {_plain(document['decision'])}: candidate {_plain(document['run_id'])}", ""]
    lines += [f"- {name}: {_plain(document.get(name) or 'none')}" for name in _SHOWN]
    caps = ", ".join(f"{name} = {value:g}" for name, value in document["caps"].items())
    lines += [
        f"- reviewer verified: {'yes' if document['reviewer_verified'] else 'no'}",
        f"- caps: {_plain(caps or 'none')}",
        f"- alerts seen: {_plain(', '.join(document['alerts_seen']) or 'none')}",
        f"- escalation path: {_plain(' → '.join(document['escalation_path']))}",
        "",
        "## Rationale",
        "",
        *(_plain(line) for line in str(document["rationale"]).splitlines()),
        "",
    ]
    return "\n".join(lines)


def decision_log(decided: Iterable[Decided]) -> str:
    """Everything that was decided about models, newest first, as Markdown."""
    lines = [
        "# Decisions about models", "",
        "Generated from the registry after each decision; what counts is its rows (`plms decide list`).", "",
        "| when (UTC) | what | about | decision | by | role | reason |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in decided:
        who = one.actor if one.actor_verified else f"{one.actor} (unverified)"
        cells = (
            f"{one.decided_at:%Y-%m-%d %H:%M:%S}", one.kind, f"{one.subject_type}:{one.subject_id}", one.decision, who,
            one.role or "", " ".join(one.reason.split())[:300],
        )  # fmt: skip
        lines.append(f"| {' | '.join(_plain(cell) for cell in cells)} |")
    return "\n".join([*lines, ""])


def _plain(value: object) -> str:
    """Text that Markdown shows as it is: a rationale must not become a link or a row of the table."""
    return _MARKDOWN.sub(r"\\\1", str(value).replace("\r", " ").replace("\n", " "))
