"""What else does a report say, where it is known: verdict, gates, alerts, milestones, what-if, annotations, origin?

Each part may be missing, and then its section is, too: an empty table of alerts reads as if limits had been set and kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation import what_if as asking
from plms_pipeline.models.evaluation.returns import numbers
from plms_pipeline.models.layout import MODEL
from plms_pipeline.models.reporting.blocks import Cell, Note, Section, Tone, number, percent, short, table
from plms_pipeline.models.reporting.reading import Columns, Rows

COSTS: Final = (0.0, 0.0002, 0.0005, 0.001)
CAPS: Final = (None, 0.5, 0.25)
_WORDS: Final[Mapping[str, Tone]] = {
    "approve": "good",
    "reject": "bad",
    "flag": "warn",
    "escalate": "warn",
    "hold": "warn",
}
_DONE: Final = frozenset({"done", "complete", "completed", "reached", "met"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What lies beside the predictions; None: not known, and not shown.

    Attributes:
        metrics: figures by name; in place of ours in the risk metrics.
        summary: an operations summary.
        gates: a verdict, as `GateVerdict.as_document` wrote it.
        manifest: of the run.
        milestones: texts, or mappings with `name`, `status` and `note`.
        annotations: rows as `plms annotate list --json` prints them.
    """

    metrics: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None
    gates: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] | None = None
    milestones: Sequence[Any] | None = None
    annotations: Sequence[Mapping[str, Any]] | None = None


def given_metrics(given: Evidence) -> dict[str, Any]:
    """Figures by name: of `metrics`, or of its `risk` when it is a whole summary; None where unknown."""
    document = given.metrics
    if document is None:
        return {}
    inner = document.get("risk") if isinstance(document.get("risk"), Mapping) else document
    return {
        str(name): value for name, value in dict(inner or {}).items()
        if value is None or isinstance(value, int | float | str)
    }  # fmt: skip


def verdict(given: Evidence) -> Note:
    """One sentence on whether anything speaks against it."""
    alerts = _alerts_of(given)
    if given.gates is None:
        if alerts is None:
            return Note("No gates and no limits were judged.", "warn")
        if not alerts:
            return Note("No limit is broken; the gates were not judged.", "warn")
        return Note(f"{len(alerts)} limits are broken; the gates were not judged.", "bad")
    failed = [one for one in _gates_of(given.gates) if not one.get("passed")]
    if not failed:
        return Note("Every gate was passed: nothing keeps it from being put before a person.", "good")
    return Note(f"It is kept from being promoted by {len(failed)} of {len(_gates_of(given.gates))} gates.", "bad")


def gates(given: Evidence) -> Section | None:
    """Every gate with its reason, those that were not passed first."""
    if given.gates is None:
        return None
    rows = []
    for one in sorted(_gates_of(given.gates), key=lambda gate: bool(gate.get("passed"))):
        word = Cell("pass", "good") if one.get("passed") else Cell("FAIL", "bad")
        figures = (_figure(one.get("value")), _figure(one.get("threshold")))
        name = str(one.get("name", "?")).replace("_", " ")
        rows.append((word, name, *figures, str(one.get("reason") or "")))
    headings = ("verdict", "gate", "value", "threshold", "reason")
    lead = "What a candidate must show out of sample before anybody is asked about it."
    return Section("Gates", lead, (table("gates", headings, rows, texts=(0, 1, 4)),))


def alerts(given: Evidence) -> Section | None:
    """Limits that are broken; None where no limit was set."""
    found = _alerts_of(given)
    if found is None:
        return None
    if not found:
        return Section("Alerts", "", (Note("No limit is broken.", "good"),))
    rows = [
        (Cell(str(one.get("code", "?")), "bad"), _figure(one.get("value")), _figure(one.get("threshold")),
         str(one.get("message", "")))
        for one in found
    ]  # fmt: skip
    headings = ("alert", "value", "limit", "what it says")
    return Section("Alerts", "Limits that were set, and are broken.", (table("alerts", headings, rows, texts=(0, 3)),))


def _alerts_of(given: Evidence) -> list[Mapping[str, Any]] | None:
    if given.summary is None:
        return None
    alerts = [one for one in given.summary.get("alerts") or [] if isinstance(one, Mapping)]
    if alerts or any(value is not None for value in (given.summary.get("thresholds") or {}).values()):
        return alerts
    # A summary of the source has sentences only.
    told = [{"code": str(text), "message": ""} for text in given.summary.get("triggered") or []]
    return [dict(one) for one in told] or None


def _gates_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = document.get("gates")
    if not isinstance(found, Sequence) or not all(isinstance(one, Mapping) for one in found):
        raise BadInput(
            "The gates are no verdict: they need a list `gates` of objects with name and passed; give the gates.json of a run.",
            code="bad_gates",
        )
    return list(found)


def _figure(value: Any) -> str:
    return short(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else short(None)


def origin(given: Evidence) -> list[tuple[str, str]]:
    """Rows of the overview: from what the model was made."""
    manifest, found = given.manifest or {}, []
    run = manifest.get("run_id") or (given.summary or {}).get("run_id")
    if run:
        found.append(("Run", str(run)))
    data, candidate = manifest.get("data") or {}, manifest.get("candidate") or {}
    lineage = manifest.get("lineage") or {}
    if manifest.get("created_at"):
        found.append(("Trained", str(manifest["created_at"])))
    if data.get("content_hash"):
        found.append(
            ("Data", f"{data.get('bars')} bars, {data.get('first')} to {data.get('last')}, {data['content_hash']}")
        )
    if candidate.get("kind"):
        found.append(("Model", f"{candidate['kind']}, {len(candidate.get('features') or [])} features"))
    files = manifest.get("files") or {}
    digest = files.get(MODEL)
    if digest:
        found.append(("Model file (SHA-256)", str(digest)))
    if lineage.get("started_from_sha256"):
        found.append(("Started from the model", str(lineage["started_from_sha256"])))
    warm = manifest.get("warm_start") or {}
    if warm:
        found.append(("Its weights", f"not used: {warm['why_cold']}" if warm.get("why_cold") else "used"))
    if warm.get("weights"):
        folds = int(warm["warm_folds"]) + int(warm["cold_folds"])
        found.append(("Folds that started from weights of before their test", f"{warm['warm_folds']} of {folds}"))
    challenger = ((manifest.get("stages") or {}).get("reinforcement") or {}).get("comparison") or {}
    if challenger:
        found.append(("Challenger", f"{challenger['sentence']} ({challenger['note']})"))
    if lineage.get("reason"):
        found.append(("Why it was trained", str(lineage["reason"])))
    return found


def milestones(given: Sequence[Any] | None) -> Section | None:
    """What research had set out to reach."""
    if not given:
        return None
    rows = []
    for one in given:
        if isinstance(one, Mapping):
            name = one.get("name") or one.get("title") or one.get("milestone")
            state = str(one.get("status") or "")
            tone: Tone = "good" if state.lower() in _DONE else ""
            note = one.get("note") or one.get("notes") or one.get("description") or ""
            rows.append((str(name or "unnamed"), Cell(state, tone), str(note)))
        else:
            rows.append((str(one), Cell(""), ""))
    lead = "The milestones that this evaluation is to be read against."
    return Section(
        "Research Agenda Alignment",
        lead,
        (table("milestones", ("milestone", "status", "note"), rows, texts=(0, 1, 2)),),
    )


def what_if(rows: Rows, columns: Columns) -> Section | None:
    """Other costs and tighter caps; None unless the predictions have positions and what followed them."""
    frame = rows.frame
    if columns.kind != "simple" or columns.weighting != "mean" or not {"position", "next_return"} <= set(frame.columns):
        return None
    known = frame[pd.Series(numbers(frame, "position") * numbers(frame, "next_return")).notna().to_numpy()]
    if known.empty:
        return None
    found = asking.what_if(
        known, costs=COSTS, caps=CAPS, outcome="next_return", periods_per_year=columns.periods_per_year
    )
    lines = [
        (
            f"{one.cost * 1e4:g} bp", "none" if one.cap is None else short(one.cap), number(one.sharpe),
            percent(one.total_return), percent(one.max_drawdown), number(one.turnover),
        )
        for one in found
    ]  # fmt: skip
    lead = (
        "What the same predictions would have earned under other costs per unit traded and tighter caps on a symbol's "
        "position. It does not say what the market would have done about it."
    )
    headings = ("cost", "cap", "Sharpe", "total return", "max drawdown", "turnover")
    return Section("What-if: Costs and Caps", lead, (table("what-if", headings, lines, texts=(0, 1)),))


def written_about(given: Sequence[Mapping[str, Any]] | None) -> Section | None:
    """What people wrote about single trades; None where nobody was asked."""
    if given is None:
        return None
    if not given:
        return Section("Annotations", "", (Note("Nobody has written about these trades yet."),))
    counts = {word: sum(1 for one in given if one.get("decision") == word) for word in _WORDS}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    rows = []
    for one in given:
        word = str(one.get("decision", "?"))
        confidence = one.get("confidence")
        rows.append(
            (
                Cell(word, _WORDS.get(word, "")), str(one.get("symbol") or ""), _day(one.get("trade_timestamp")),
                str(one.get("rationale", "")), "" if confidence is None else percent(float(confidence), 0),
                ", ".join(map(str, one.get("tags") or [])), str(one.get("author", "")),
            )
        )  # fmt: skip
    headings = ("decision", "symbol", "trade", "rationale", "confidence", "tags", "author")
    return Section("Annotations", f"{len(given)} in all: {told}.", (
        table("annotations", headings, rows, texts=(0, 1, 2, 3, 5, 6)),
    ))  # fmt: skip


def _day(text: Any) -> str:
    """A moment as people write it; `2024-03-01T00:00:00+00:00` is the day."""
    if not isinstance(text, str):
        return ""
    return text.replace("+00:00", "").replace("T00:00:00", "").replace("T", " ")
