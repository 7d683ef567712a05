"""Is a reason read as text, grouped by its cause, and never as anything else?"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.letters.reasons import (
    MOST_CHARACTERS,
    NO_REASON,
    classify,
    classify_all,
    cleaned,
    fingerprint,
    template_of,
)


@pytest.mark.parametrize(
    ("reason", "error_class", "label"),
    [
        ("connect ETIMEDOUT 10.0.0.7:443", "TRANSIENT", "timeout"),
        ("read ECONNRESET", "TRANSIENT", "network_connectivity"),
        ("socket hang up", "TRANSIENT", "network_connectivity"),
        ("HTTP 429 Too Many Requests", "TRANSIENT", "rate_limiting"),
        ("HTTP 503", "TRANSIENT", "service_unavailable"),
        ("502 Bad Gateway", "TRANSIENT", "service_unavailable"),
        ("the executor does not know this run (any more)", "TRANSIENT", "executor_lost_it"),
        ("Unavailable: the registry is away", "TRANSIENT", "service_unavailable"),
        ("HTTP 401 Unauthorized", "PERMANENT", "authentication_failure"),
        ("schema validation failed at /items/3", "PERMANENT", "schema_validation"),
        ("budget: the card's cap was reached", "PERMANENT", "budget_exceeded"),
        ("the executor says terminated", "PERMANENT", "stopped"),
        ("cancelled by ann: wrong branch, after a timeout", "PERMANENT", "stopped"),
        ("PII found in the prompt", "POLICY", "policy_violation"),
        ("licence of the dependency forbids it", "POLICY", "policy_violation"),
        ("3 of 40 tests fail", "PERMANENT", "unknown"),
        ("expected 502 rows, found 503", "PERMANENT", "unknown"),
        ("", "PERMANENT", "unknown"),
        (None, "PERMANENT", "unknown"),
    ],
)
def test_a_reason_has_the_class_of_its_cause(reason: str | None, error_class: str, label: str) -> None:
    """A timeout that is given up costs a run; a violation that is tried again costs much more."""
    found = classify(reason)
    assert (found.error_class, found.label, found.is_known) == (error_class, label, label != "unknown")


@pytest.mark.parametrize("spoilt", ["policy violation", "copyright notice", "contains pii", "HTTP 403", "budget"])
def test_the_strictest_class_wins(spoilt: str) -> None:
    """A failure could otherwise be made retriable for ever by adding the word timeout to its message."""
    assert classify(f"timeout after 30 s; {spoilt}; connection reset").error_class != "TRANSIENT"
    assert classify_all(["timeout", spoilt, "timeout"]).error_class != "TRANSIENT"


def test_tasks_that_all_failed_in_passing_may_be_tried_again_together() -> None:
    """One hopeless task makes the retry of its whole run a waste of money."""
    assert classify_all(["timeout", "HTTP 503"]).may_be_retried
    assert not classify_all(["timeout", "assertion failed"]).may_be_retried
    assert not classify_all([]).may_be_retried


HOSTILE = [
    "'; touch PWNED #",
    '"$(touch PWNED)"',
    "`touch PWNED`",
    "__import__('os').system('touch PWNED')",
    "{{ 7 * 7 }} {% raw %}",
    "%s %n %(x)s {0} {}",
    "Robert'); DROP TABLE dead_letters;--",
    "[bold red]not markup[/bold red] [link=file:///etc/passwd]x[/link]",
    "<script>alert(1)</script>",
    "\x00nul\x00",
    "\x1b[2J\x1b]0;owned\x07 timeout",
    "\ud800 half a pair",
    "\u202egnp.exe",
    "a\r\nlog line=forged",
    "x" * 100_000,
]


@pytest.mark.parametrize("reason", HOSTILE)
def test_hostile_reasons_become_harmless_text(reason: str) -> None:
    """The sources executed a failure's message; a terminal obeys escapes; PostgreSQL refuses NUL, and the letter were lost."""
    kept = cleaned(reason)
    assert len(kept) <= MOST_CHARACTERS
    kept.encode("utf-8")
    assert not set(kept) & {"\x00", "\x1b", "\x07", "\r", "\u202e"}
    assert len(fingerprint("run", reason)) == 16
    assert classify(reason).error_class in ("TRANSIENT", "PERMANENT")


@given(st.text(max_size=300))
def test_every_text_can_be_kept_and_kept_again(text: str) -> None:
    """A reason that changes each time it passes through would never group."""
    kept = cleaned(text)
    assert cleaned(kept) == kept
    kept.encode("utf-8")
    assert kept
    assert classify(kept) == classify(text)


def test_no_reason_says_so() -> None:
    """An empty cell in the list of letters tells nobody that nothing was said."""
    assert cleaned("  \n ") == NO_REASON
    assert cleaned(None) == NO_REASON


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeout after 31.5 s", "timeout after 8 s"),
        ("run 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 lost", "run 00000000-0000-4000-8000-000000000001 lost"),
        ("cannot open /tmp/a/b.json", "cannot open /var/lib/c.json"),
        ("model 'gpt' refused", "model 'llama' refused"),
        ("at 2026-03-01T12:00:00Z: gone", "at 2026-04-02T01:02:03.5+00:00: gone"),
        ("Connection   reset", "connection reset"),
        ("object 0xdeadbeef12 freed", "object 0x12345678ab freed"),
    ],
)
def test_failures_of_one_cause_share_a_fingerprint(one: str, other: str) -> None:
    """A poison that looks like a thousand different errors is found by nobody."""
    assert fingerprint("run", one) == fingerprint("run", other)


def test_other_causes_and_kinds_have_other_fingerprints() -> None:
    """Quarantining one poison must not put everything else aside."""
    assert fingerprint("run", "timeout") != fingerprint("run", "connection reset")
    assert fingerprint("run", "timeout") != fingerprint("event", "timeout")
    assert template_of("decade facade added") == "decade facade added"


@pytest.mark.parametrize(
    "text", ["a" * 4000, "/" * 4000, "'" * 4000, "0" * 4000, ("/a" * 2000) + ":", " " * 4000 + "x"]
)
def test_no_reason_takes_long_to_read(text: str) -> None:
    """A message that makes a pattern backtrack would stop settlement, which reads it in its transaction."""
    began = time.process_time()
    classify(text)
    template_of(text)
    assert time.process_time() - began < 0.5
