"""What did the nights prove, in the words that the sources' dashboards read?

The names of the series are theirs. Theirs counted headlines as violations; here they are rows. A proof that cannot be read is
told as an error, never as green.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from plms_pipeline.monitoring.exporter.catalogue.proofs import NIGHTS
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.monitoring.summary import BROKEN

HISTORY: Final = 30
ERROR: Final = "ERROR"
_WORDS: Final = {"pass": "ok", "fail": "fail", "no_data": "unknown"}
_TREES: Final = (("calibration", "effort"), ("calibration_all_receipts", "spend"))

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Night:
    """One night on disk: its proof, and its summary where that was read; None: it is not there or cannot be read."""

    night: date
    proof: Document | None
    summary: Document | None = None


def tell(samples: Samples, nights: Sequence[Night], *, today: date, lanes: Sequence[str] | None = None) -> None:
    """Put what the nights say into samples.

    Args:
        nights: the newest first.
        today: from which the history counts back.
        lanes: none but these, where they are known.
    """
    recent = [each for each in nights if timedelta(0) <= today - each.night < timedelta(days=HISTORY)]
    counts = dict.fromkeys(NIGHTS, 0)
    for each in recent:
        counts[_word(each.proof)] += 1
    samples.put_by("plms_invariants_status_history", counts)
    fixed = time_to_fix(recent)
    if fixed is not None:
        samples.put("plms_invariants_time_to_fix_seconds", fixed)
    if not nights:
        return
    if nights[0].proof is not None:
        _proof(samples, nights[0].proof)
    if nights[0].summary is not None:
        _summary(samples, nights[0].summary, lanes)


def time_to_fix(nights: Sequence[Night]) -> float | None:
    """Mean seconds from the first broken proof of an episode to the next clean one; None when none was put right.

    Args:
        nights: the newest first.
    """
    took: list[float] = []
    broken_at: datetime | None = None
    for each in reversed(nights):
        at, word = _instant(each), _word(each.proof)
        if word == "fail":
            broken_at = broken_at or at
        elif word in ("ok", "unknown") and broken_at is not None:
            took.append((at - broken_at).total_seconds())
            broken_at = None
    return sum(took) / len(took) if took else None


def _proof(samples: Samples, proof: Document) -> None:
    summary, checks = proof.get("summary", {}), proof.get("checks", {})
    at = _moment(proof.get("timestamp"))
    if at is not None:
        samples.put("plms_invariants_last_check_timestamp", at.timestamp())
    samples.put_all({
        "plms_invariants_status": float(_word(proof) in ("ok", "unknown")),
        "plms_invariants_violations_total": _whole(summary.get("total_violations")),
        "plms_invariants_checks_total": _whole(summary.get("total_checks")),
        "plms_invariants_checks_passed": _whole(summary.get("passed_checks")),
        "plms_invariants_checks_failed": _whole(summary.get("failed_checks")),
        "plms_invariants_critical_violations": sum(
            _whole(check.get("violations")) for check in checks.values() if check.get("severity", ERROR) == ERROR
        ),
    })  # fmt: skip
    for name, check in checks.items():
        samples.put("plms_invariants_violations_by_check", _whole(check.get("violations")), name)


def _summary(samples: Samples, summary: Document, lanes: Sequence[str] | None) -> None:
    as_of = _moment(summary.get("as_of"))
    if as_of is not None:
        samples.put("plms_nightly_last_timestamp_seconds", as_of.timestamp())
    samples.put("plms_nightly_status", float(summary.get("verdict") not in (None, BROKEN)))
    for tree, basis in _TREES:
        for measure, found in summary.get(tree, {}).items():
            cells = {"all": found.get("overall", {}), **found.get("lanes", {})}
            for lane, cell in cells.items():
                if cell.get("n") and (lane == "all" or lanes is None or lane in lanes):
                    samples.put("plms_calibration_coverage_ratio", float(cell["coverage_90"]), basis, measure, lane)


def _word(proof: Document | None) -> str:
    return "error" if proof is None else _WORDS.get(str(proof.get("summary", {}).get("status")), "error")


def _instant(night: Night) -> datetime:
    told = None if night.proof is None else _moment(night.proof.get("timestamp"))
    return told or datetime(night.night.year, night.night.month, night.night.day, tzinfo=UTC)


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
