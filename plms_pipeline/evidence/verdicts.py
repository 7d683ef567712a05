"""What do the books of late evidence prove, and what did a golden run show? Pure judgements; no data is never a yes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One question about the books, and what speaks against a yes."""

    name: str
    problems: tuple[str, ...] = ()
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class BookFacts:
    """What was counted, in one snapshot, except where another system was asked.

    `told_differently` are events on the stream that contradict their row; None when nothing is told on a stream.
    `counters` is what a running observer counts of itself by reason, `rows` what the registry holds of it; None when none was
    asked.
    """

    accepted: int
    pending: int
    ended: int
    observations: int
    without_observation: tuple[str, ...]
    pending_with_observation: tuple[str, ...]
    stuck: tuple[str, ...]
    other_digest: tuple[str, ...]
    spooled_files: tuple[str, ...]
    untold: int = 0
    told_differently: tuple[str, ...] | None = None
    counters: Mapping[str, int] | None = None
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been observed yet: then nothing is proven."""
        return self.observations == 0


def _named(what: str, offenders: tuple[str, ...]) -> tuple[str, ...]:
    if not offenders:
        return ()
    shown = ", ".join(offenders[:MOST_NAMED])
    more = len(offenders) - MOST_NAMED
    return (f"{what}: {shown}" + (f" and {more} more" if more > 0 else ""),)


def book_findings(facts: BookFacts) -> list[Finding]:
    """Every question about the books with its answer."""
    sums = []
    if facts.accepted != facts.ended + facts.pending:
        sums.append(f"{facts.accepted} accepted, {facts.ended} ended, {facts.pending} pending")
    if facts.ended != facts.observations:
        sums.append(f"{facts.ended} ended, {facts.observations} observations")
    findings = [
        Finding(
            "accepted_is_ended_plus_pending",
            tuple(sums),
            f"{facts.accepted} = {facts.observations} + {facts.pending}",
        ),
        Finding("every_end_has_its_observation", _named("ended without one", facts.without_observation)),
        Finding("nothing_pending_was_observed", _named("still pending", facts.pending_with_observation)),
        Finding("nothing_is_overdue", _named("overdue", facts.stuck)),
        Finding("producer_and_observer_mean_the_same_place", _named("another configuration", facts.other_digest)),
        Finding("nothing_waits_in_a_spool", _named("files", facts.spooled_files)),
    ]
    if facts.told_differently is not None:
        untold = (f"{facts.untold} observations were not told",) if facts.untold else ()
        findings.append(
            Finding("the_stream_says_what_the_books_say", untold + _named("other words", facts.told_differently))
        )
    if facts.counters is not None:
        wrong = tuple(
            f"{reason}: counted {facts.counters.get(reason, 0)}, stored {facts.rows.get(reason, 0)}"
            for reason in sorted({*facts.counters, *facts.rows})
            if facts.counters.get(reason, 0) != facts.rows.get(reason, 0)
        )
        findings.append(Finding("counters_equal_the_rows", wrong))
    return findings


# Scenario → the one reason that is right.
GOLDEN: Final[Mapping[str, str]] = {
    "evidence_in_time": "ok",
    "no_evidence": "timeout",
    "old_evidence": "stale",
    "foreign_evidence": "stale",
    "unreadable_evidence": "parse_error",
}


def golden_findings(
    reasons: Mapping[str, str | None],
    waits_ms: Mapping[str, int],
    *,
    wait_ms: int,
    slack_ms: int,
    edges: tuple[str, ...],
) -> list[Finding]:
    """What a golden run showed.

    Args:
        reasons: scenario → the reason that was observed; None when none was.
        waits_ms: scenario → how long its observation took.
        wait_ms: how long is waited.
        slack_ms: by so much an observation may be later.
        edges: places where producer and observer do not meet.
    """
    findings = [Finding("producer_and_observer_mean_the_same_place", edges)]
    for scenario, expected in GOLDEN.items():
        reason, took = reasons.get(scenario), waits_ms.get(scenario)
        problems = []
        if reason != expected:
            problems.append(f"expected {expected}, observed {reason or 'nothing'}")
        elif took is not None and took > wait_ms + slack_ms:
            problems.append(f"took {took} ms where {wait_ms} ms are waited")
        elif took is not None and expected != "ok" and took < wait_ms:
            problems.append(f"ended after {took} ms, before the {wait_ms} ms were over")
        findings.append(Finding(scenario, tuple(problems), f"{reason or 'nothing'} after {took} ms"))
    return findings
