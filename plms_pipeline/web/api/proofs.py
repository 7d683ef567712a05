"""What did the last nights prove, in the words that the sources' dashboards read?

The sources parsed text logs, counted headlines as violations and called a crashed check "unknown". The nightly report is
data already; this only gives it the old field names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_TAIL_LINES = 200
MAX_VIOLATION_LINES = 20
UNKNOWN_COUNT = -1
_STATUS = {"pass": "ok", "fail": "fail", "no_data": "unknown"}


@dataclass(frozen=True, slots=True)
class StoredProof:
    """One night's proof: where it lies below the reports folder, its night, and its document (None: cannot be read)."""

    path: str
    night: str
    document: Mapping[str, Any] | None


def latest(proofs: Sequence[StoredProof]) -> dict[str, Any]:
    """The answer of `/api/ops/invariants/latest`; `proofs` are newest first."""
    if not proofs:
        return {
            "status": "unknown",
            "error": "No night was proven yet; `plms nightly` proves one.",
            "log_dir": "nightly",
            "violations": [],
        }
    proof = proofs[0]
    if proof.document is None:
        return {
            "status": "error",
            "error": f"The proof of {proof.night} cannot be read; `plms nightly --date {proof.night}` writes it again.",
            "log_path": proof.path,
            "violations": [],
        }
    checks = list(proof.document.get("checks", {}).values())
    return {
        "status": _status(proof.document),
        "log_path": proof.path,
        "tail": [_line(check) for check in checks][-MAX_TAIL_LINES:],
        "timestamp": proof.document.get("timestamp", proof.night),
        "violations": [
            f"{check['name']}: {error}" for check in checks if not check["passed"] for error in check["errors"]
        ][:MAX_VIOLATION_LINES],
    }


def history(proofs: Sequence[StoredProof], limit: int) -> dict[str, Any]:
    """The answer of `/api/ops/invariants/history`, newest first."""
    nights = [
        {
            "timestamp": proof.night if proof.document is None else proof.document.get("timestamp", proof.night),
            "status": "error" if proof.document is None else _status(proof.document),
            "violations": UNKNOWN_COUNT
            if proof.document is None
            else proof.document.get("summary", {}).get("total_violations", UNKNOWN_COUNT),
            "log_path": proof.path,
        }
        for proof in proofs[:limit]
    ]
    return {"history": nights, "count": len(nights)}


def _status(document: Mapping[str, Any]) -> str:
    return _STATUS.get(str(document.get("summary", {}).get("status")), "error")


def _line(check: Mapping[str, Any]) -> str:
    mark = "✓" if check["passed"] else "✗"
    return f"{mark} {check['name']}: {max(0, check['checked'] - check['violations'])}/{check['checked']}"
